"""Which program of the user's a job names, in every way that SageMaker's SDKs have for it.

- Hyperparameters ``sagemaker_program`` and ``sagemaker_submit_directory``: SDK v2's ``entry_point``, ``source_dir``.
- Environment variables of these names in capitals: an image made for one script.
- ``sourcecode.json`` in the channel ``sm_drivers``: SDK v3's ``SourceCode``, whose code is the channel ``code``.

Supervisors ask here what to start, so nothing heavy is imported.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from treering.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.paths import Paths

SCRATCH_VARIABLE: Final = "TREERING_SCRATCH"  # a folder of this host's ranks, gone when the job is
PROGRAM: Final = "sagemaker_program"
SUBMIT_DIRECTORY: Final = "sagemaker_submit_directory"

_DRIVERS = "sm_drivers"  # SDK v3's channels
_CODE = "code"


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """What to run, as the job names it.

    Parameters
    ----------
    where
        A folder, an archive, or the ``s3://`` address of one.
    entry
        The script's path below it; empty where there is a `command`.
    command
        A line for the shell, run in the folder.
    requirements
        The file of packages to install, below the folder, where the job names one.
    is_v3
        Whether SDK v3 asks: it writes arguments in another way.
    """

    where: str
    entry: str = ""
    command: str = ""
    requirements: str = ""
    is_v3: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        return self.entry or self.command


def find(paths: Paths, environ: Mapping[str, str]) -> Program | None:
    """The job's own program, or None where it asks for the built-in job; raises PlatformError.

    A job's hyperparameters count before the environment, which an image may have set for all its jobs.
    """
    given = hyperparameters(paths)
    entry = _text(given.get(PROGRAM)) or environ.get(PROGRAM.upper(), "")
    if entry:
        where = _text(given.get(SUBMIT_DIRECTORY)) or environ.get(SUBMIT_DIRECTORY.upper(), "")
        return Program(where.removeprefix("file://") or str(paths.base / _CODE), entry)
    return _of_v3(paths)


def hyperparameters(paths: Paths) -> dict[str, Any]:
    """The job's hyperparameters as they stand; {} where they cannot be read, which the ranks will tell."""
    try:
        found = json.loads(paths.hyperparameters.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    """A hyperparameter that is a text; SDK v2 puts those of its own in quotes."""
    text = str(value or "").strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return "" if text in {"null", "None"} else text


def _of_v3(paths: Paths) -> Program | None:
    file = paths.channel(_DRIVERS) / "sourcecode.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PlatformError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise PlatformError(f"{file} has to hold a JSON object, found {type(found).__name__}")
    folder, source = str(Path.cwd()), str(found.get("source_dir") or "")
    if source:
        is_archive = source.endswith((".tar.gz", ".tgz"))
        folder = str(paths.channel(_CODE) / (PurePosixPath(source).name if is_archive else ""))
    requirements = str(found.get("requirements") or "")
    if found.get("command"):  # it wins, as in the SDK
        line = [str(found["command"]), *(shlex.quote(str(each)) for each in found.get("args") or ())]
        return Program(folder, command=" ".join(line), requirements=requirements, is_v3=True)
    if found.get("entry_script"):
        return Program(folder, str(found["entry_script"]), requirements=requirements, is_v3=True)
    return None
