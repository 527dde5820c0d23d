"""The packages that a script requires, installed beside the image's own, which stay as they are."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from treering.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_OPTIONS = (
    "--no-cache-dir",
    "--no-input",
    "--no-warn-script-location",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--progress-bar=off",
    "--quiet",
    "--retries=2",
    "--timeout=15",
)
_ENGINE = "xgboost-cpu"
_INSTEAD = (
    "without a network, install them in an image made from this one, or put their wheels beside the script"
)

log = logging.getLogger(__name__)


def install(file: Path, folder: Path) -> tuple[Path, ...]:
    """Install what `file` lists below `folder`, unless that is done; the folders to import from.

    What is installed already counts and is never replaced: another version of it is refused, since the
    ring's own libraries have to be the same on all hosts.

    Raises
    ------
    UserError
        When something cannot be had.
    """
    done = folder / "done"
    if not done.exists():
        _install(file, folder)
        done.touch()
    return tuple(sorted(folder.glob("**/python3*/*-packages")))


def _install(file: Path, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UserError(f"{file.name} cannot be installed: pip is not here; {_INSTEAD}")
    log.info("installing %s", file)
    folder.mkdir(exist_ok=True)
    installed = {each.name: each.version for each in metadata.distributions()}
    provided = _provide(installed, folder)
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(installed.items())))
    # A scheme of its own: what is in the image's environment counts as installed, but nothing is written there.
    command = [sys.executable, "-m", "pip", "install", f"--prefix={folder}", f"--constraint={constraints}"]
    ended = subprocess.run(
        [*command, *_OPTIONS, f"--requirement={file.name}"],
        check=False,
        cwd=file.parent,  # what it names by path lies beside it
        env=os.environ | {"PYTHONPATH": str(provided)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    )
    said = ended.stdout.strip()
    if said:
        log.info("pip said:\n%s", said)
    if ended.returncode:
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        why = errors[-1] if errors else f"pip ended with exit code {ended.returncode}"
        raise UserError(f"{file.name} cannot be installed ({why}); {_INSTEAD}")


def _provide(installed: dict[str, str], folder: Path) -> Path:
    """Tell pip that the CPU wheel is XGBoost: its distribution has a name of its own, and scripts ask for the other.

    Adds to `installed`; returns a folder for pip to look into.
    """
    provided = folder / "provided"
    version = installed.get(_ENGINE)
    if version is not None and "xgboost" not in installed:
        installed["xgboost"] = version
        described = provided / f"xgboost-{version}.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: xgboost\nVersion: {version}\n")
    return provided
