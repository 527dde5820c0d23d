"""A program's code on this host: where it lies, unpacked or fetched, with the packages it asks for.

Ranks of one host share all that: the first one to come does the work, and the others wait for it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from treering.errors import PlatformError, UserError
from treering.script import requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.script.program import Program

_PATIENCE = 20  # seconds for S3 to answer
_REQUIREMENTS = "requirements.txt"


@dataclasses.dataclass(frozen=True, slots=True)
class Code:
    """A program's code, ready to run.

    Parameters
    ----------
    folder
        Where it lies; the program is run there.
    packages
        Folders with what it required, for Python to look into after its own.
    """

    folder: Path
    packages: tuple[Path, ...] = ()


def lay_out(program: Program, scratch: Path, environ: Mapping[str, str]) -> Code:
    """Fetch and unpack the code and install its requirements, once a host.

    Parameters
    ----------
    program
        What is asked for.
    scratch
        A folder that this host's ranks share.
    environ
        What says how S3 is reached.

    Raises
    ------
    UserError
        When the code, its entry or its requirements are not there, or cannot be had.
    PlatformError
        When the disk refuses.
    """
    try:
        with (scratch / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = _folder(program, scratch, environ)
            packages = _packages(program, folder, scratch)
    except OSError as error:
        raise PlatformError(
            f"cannot lay out {program.where} in {scratch}: {error.strerror or error}"
        ) from error
    if program.entry and not (folder / program.entry).is_file():
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise UserError(
            f"there is no {program.entry} in {program.where}, only {there}; name a script that is there"
        )
    return Code(folder, packages)


def _folder(program: Program, scratch: Path, environ: Mapping[str, str]) -> Path:
    local = Path(program.where)
    if program.where.startswith("s3://"):
        local = scratch / "sourcedir.tar.gz"
        if not local.exists():
            _fetch(program.where, local, environ)
    if local.is_dir():
        return local.resolve()
    if not local.is_file():
        raise UserError(
            f"the code of {program.name} is not there: {program.where} does not exist; give it as source_dir, or as a "
            "channel called code"
        )
    return _unpack(local, program.where, scratch / "code")


def _unpack(archive: Path, where: str, folder: Path) -> Path:
    if folder.exists():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(archive) as files:
            files.extractall(part, filter="data")  # nothing outside of the folder
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{where} is no archive that can be unpacked: {error}") from error
    return part.rename(folder)


def _fetch(address: str, file: Path, environ: Mapping[str, str]) -> None:
    """Copy an object from S3, with the credentials that SageMaker gives every job of its own."""
    from pyarrow import fs  # noqa: PLC0415  # few jobs need it

    bucket = urlsplit(address)
    endpoint = urlsplit(environ.get("S3_ENDPOINT_URL", ""))
    other = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if endpoint.netloc else {}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    part = file.with_suffix(".part")
    try:
        store = fs.S3FileSystem(region=region, connect_timeout=_PATIENCE, request_timeout=_PATIENCE, **other)
        with store.open_input_stream(bucket.netloc + bucket.path) as sent, part.open("wb") as kept:
            shutil.copyfileobj(sent, kept)
    except OSError as error:
        raise UserError(
            f"the code in {address} cannot be fetched ({' '.join(str(error).split())}); the job's role has to be "
            "allowed s3:GetObject on it, and without a network it has to come as a channel called code"
        ) from error
    part.rename(file)


def _packages(program: Program, folder: Path, scratch: Path) -> tuple[Path, ...]:
    named = "" if program.requirements == "auto" else program.requirements
    file = folder / (named or _REQUIREMENTS)
    if not file.is_file():
        if named:
            raise UserError(f"there is no {named} in {program.where} to install requirements from")
        return ()
    if program.is_v3 and not program.requirements:  # SDK v3 installs what it is told to, and nothing else
        return ()
    return requirements.install(file, scratch / "packages")
