"""The job of N containers as N supervisors on this machine, without Docker.

Each host gets an ``/opt/ml`` tree of its own below ``DIR/hosts/<host>``; what belongs to the job as a
whole (the model, the output) is one folder, as it is in SageMaker.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from typing import TYPE_CHECKING

from treering import channels, job, memory
from treering.artifacts import MODEL_NAME
from treering.bar import Bar
from treering.cluster import ADDRESSES_VARIABLE
from treering.errors import UserError
from treering.frames import decode
from treering.pace import PIPE_VARIABLE
from treering.paths import BASE_VARIABLE, Paths
from treering.processes import Children
from treering.progress import Position
from treering.resources import cores
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from treering.job import Channel

_MARKER = ".treering-local"  # in every output folder: what is in there may be replaced by the next run
_LOOPBACK = "127.0.0.1"
_GRACE = 15.0  # seconds that hosts may stay behind the first one to end, before they are killed


@dataclasses.dataclass(frozen=True, slots=True)
class LocalJob:
    """What to run.

    Parameters
    ----------
    hosts
        How many.
    channels
        Each channel, and the file or folder its data is in.
    hyperparameters
        As in an estimator; written as strings.
    output
        Folder for everything; results of an earlier run in it are replaced.
    threads_per_host
        0: the cores of this machine, shared by the hosts.
    checkpoints
        Folder that plays the part of ``/opt/ml/checkpoints``, or None.
    """

    hosts: int
    channels: Mapping[str, tuple[Channel, Path]]
    hyperparameters: Mapping[str, str]
    output: Path
    threads_per_host: int = 0
    checkpoints: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts' SageMaker names."""
        return tuple(f"algo-{number + 1}" for number in range(self.hosts))


def prepare(local: LocalJob) -> None:
    """Lay out the hosts' trees; raises UserError when a channel's data is not there."""
    for name, (_, source) in local.channels.items():
        if not source.exists():
            raise UserError(f"channel {name}: {source} does not exist")
    _claim(local.output)
    for stale in (local.output / "hosts", local.output / "logs", local.output / "output"):
        shutil.rmtree(stale, ignore_errors=True)
    (local.output / "model").mkdir(parents=True, exist_ok=True)
    (local.output / "model" / MODEL_NAME).unlink(missing_ok=True)
    (local.output / "output" / "data").mkdir(parents=True)
    (local.output / "logs").mkdir()
    for index, host in enumerate(local.names):
        paths = Paths(local.output.resolve() / "hosts" / host)
        _write_config(local, host, paths)
        paths.failure.parent.mkdir()
        paths.model.symlink_to(local.output.resolve() / "model")
        paths.output_data.symlink_to(local.output.resolve() / "output" / "data")
        for channel, source in local.channels.values():
            _link_channel(channel, source.resolve(), paths, index, local.hosts)


def _claim(output: Path) -> None:
    """Mark the output folder as ours; raises UserError rather than clear one that holds something else."""
    marker = output / _MARKER
    if output.is_dir() and any(output.iterdir()) and not marker.exists():
        raise UserError(f"--output {output} holds files of something else; name a new or an empty folder")
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _write_config(local: LocalJob, host: str, paths: Paths) -> None:
    paths.config.mkdir(parents=True)
    resources = {"current_host": host, "hosts": list(local.names), "network_interface_name": "eth0"}
    inputs = {
        channel.name: {"TrainingInputMode": channel.mode, "S3DistributionType": channel.distribution}
        | ({"ContentType": channel.content_type} if channel.content_type else {})
        for channel, _ in local.channels.values()
    }
    paths.resource_config.write_text(json.dumps(resources))
    paths.input_data_config.write_text(json.dumps(inputs))
    paths.hyperparameters.write_text(json.dumps(dict(local.hyperparameters)))
    if local.checkpoints is not None:
        local.checkpoints.mkdir(parents=True, exist_ok=True)
        where = {"LocalPath": str(local.checkpoints.resolve())}
        paths.checkpoint_config.write_text(json.dumps(where))


def _link_channel(channel: Channel, source: Path, paths: Paths, index: int, hosts: int) -> None:
    """Show a host its files: all of them, or every hosts-th one, as S3 sharding deals objects out."""
    folder = paths.channel(channel.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and channel.distribution == "FullyReplicated":
        folder.symlink_to(source)
        return
    folder.mkdir()
    names = [name for name, _ in channels.list_files(source)] if source.is_dir() else [source.name]
    root = source if source.is_dir() else source.parent
    if channel.distribution == "ShardedByS3Key":
        names = names[index::hosts]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(root / name)


def run(local: LocalJob) -> int:
    """Run the prepared job; returns its exit code. No process is left behind, whatever happens."""
    return asyncio.run(_run(local))


async def _run(local: LocalJob) -> int:
    loop = asyncio.get_running_loop()
    children = Children()
    stopped = loop.create_future()
    bar = Bar(sys.stderr, os.environ)

    def stop(number: signal.Signals) -> None:
        children.signal_all(signal.SIGTERM)  # a supervisor lets its ranks finish their round, but not twice
        if not stopped.done():
            stopped.set_result(number)
            with bar.aside():
                sys.stderr.write("stopping; once more to stop at once\n")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    shown, its_stdout = os.pipe()
    moves, its_moves = os.pipe()
    os.set_blocking(its_moves, False)  # no host waits for a bar
    ends = _start_hosts(local, children, its_stdout, its_moves if bar.is_shown else None)
    os.close(its_stdout)
    os.close(its_moves)
    tee = loop.create_task(_tee(shown, local.output / "logs" / f"{local.names[0]}.log", bar))
    moving = loop.create_task(_follow(moves, bar))
    await asyncio.wait([*ends, stopped], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(ends, timeout=_GRACE + (_stop_grace(local) if stopped.done() else 0.0))
    children.kill_all()
    codes = await asyncio.gather(*ends)
    await children.end_descendants(_GRACE)  # what a killed supervisor's ranks had started
    await asyncio.gather(tee, moving)
    bar.erase()
    _collect_failure(local)
    return 0 if not any(codes) else 1


def _start_hosts(
    local: LocalJob, children: Children, stdout: int, moves: int | None
) -> list[asyncio.Future[int]]:
    """Start all supervisors, the first one with `stdout`; all with `moves`, if there is somebody to tell."""
    common = _environment(local)
    if moves is not None:
        common[PIPE_VARIABLE] = str(moves)
    ends = []
    for host in local.names:
        environ = common | {BASE_VARIABLE: str(local.output.resolve() / "hosts" / host)}
        command = (sys.executable, "-m", "treering", "train")
        with (local.output / "logs" / f"{host}.log").open("wb") as log:
            to = stdout if host == local.names[0] else log.fileno()
            ends.append(children.start(command, environ, () if moves is None else (moves,), to)[1])
    return ends


def _stop_grace(local: LocalJob) -> float:
    return Settings.read(Paths(local.output / "hosts" / local.names[0]), os.environ).stop_grace


def _environment(local: LocalJob) -> dict[str, str]:
    with socket.create_server((_LOOPBACK, 0)) as probe:
        port = probe.getsockname()[1]
    return dict(os.environ) | {
        job.NAME_VARIABLE: f"local-{secrets.token_hex(4)}",
        ADDRESSES_VARIABLE: ",".join(f"{host}={_LOOPBACK}" for host in local.names),
        "TREERING_PORT": str(port),
        "TREERING_THREADS_PER_HOST": str(local.threads_per_host or max(1, cores() // local.hosts)),
        memory.LIMIT_VARIABLE: str(memory.room(os.environ).size // local.hosts >> 20),
        # Hosts share this machine's cores: a thread that waits for others must not keep them from working.
        "OMP_WAIT_POLICY": "passive",
    }


async def _tee(descriptor: int, log: Path, bar: Bar) -> None:
    """Copy the first host's output to our own stdout and its log until its last process is gone."""
    async with _reading(descriptor) as reader:
        with log.open("wb") as kept:
            while part := await reader.read(2**16):
                kept.write(part)
                kept.flush()
                with bar.aside(whole=part.endswith(b"\n")):
                    sys.stdout.buffer.write(part)
                    sys.stdout.buffer.flush()


async def _follow(descriptor: int, bar: Bar) -> None:
    """Move the bar as the hosts tell, until the last one is gone."""
    async with _reading(descriptor) as reader:
        while line := await reader.readline():
            told = decode(line)
            bar.move(told["rank"], Position.from_json(told["position"]))


@contextlib.asynccontextmanager
async def _reading(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    with os.fdopen(descriptor, "rb") as pipe:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        yield reader


def _collect_failure(local: LocalJob) -> None:
    """The job's failure file is that of the first host that could write one."""
    for host in local.names:
        written = Paths(local.output / "hosts" / host).failure
        if written.is_file():
            shutil.copyfile(written, local.output / "output" / "failure")
            return
