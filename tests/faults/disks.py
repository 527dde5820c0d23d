"""What a job finds on its disks: no room, no permission, checkpoints that are damaged."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from .jobs import ABALONE, CHECKPOINTED, Job
from .network import run
from .strikes import LAST_ROUND

if TYPE_CHECKING:
    from .host import Host
    from .lab import Lab


def mount_small(lab: Lab, host: Host, folder: str, size: str = "8k") -> None:
    """Let a folder of the host be a disk that small: into 8 KiB a name fits, but no model."""
    _mount(lab, host, folder, "-t", "tmpfs", "-o", f"size={size},uid={os.getuid()}", "tmpfs")


def mount_read_only(lab: Lab, host: Host, folder: str) -> None:
    """Let a folder of the host be one that nobody can write to."""
    _mount(lab, host, folder, "-t", "tmpfs", "-o", "ro", "tmpfs")


def _mount(lab: Lab, host: Host, folder: str, *options: str) -> None:
    target = host.base / folder
    target.mkdir(parents=True, exist_ok=True)
    run("mount", *options, str(target))
    lab.stack.callback(run, "umount", "--lazy", str(target))


def corrupt_checkpoints(lab: Lab, _: Host) -> None:
    """Leave checkpoints of an earlier run on every host: the newest two damaged, older ones whole."""
    made = lab.folder / "earlier"
    earlier = Job(rounds=LAST_ROUND - 1, hyperparameters=CHECKPOINTED).all_hyperparameters()
    options = [f"--hp={name}={value}" for name, value in earlier.items()]
    options += [f"--channel=train={ABALONE}", "--content-type=text/libsvm"]
    options += [f"--output={made / 'out'}", f"--checkpoints={made / 'kept'}"]
    run(sys.executable, "-m", "treering", "local", *options)
    states = sorted(made.glob("kept/treering-state.*"), key=lambda path: int(path.suffix[1:]))
    assert len(states) > 2, states
    newest = states[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    second = states[-2].with_name(f"xgboost-checkpoint{states[-2].suffix}")
    second.write_bytes(b"garbage")
    for host in lab.hosts.values():
        shutil.copytree(made / "kept", host.base / "checkpoints")
    shutil.rmtree(made)
