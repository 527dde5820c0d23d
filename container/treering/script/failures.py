"""What went wrong in a user's script: its file and line first, without what is not the user's."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from treering.errors import PeerLostError, PlatformError, RingError, ScriptError, UserError

if TYPE_CHECKING:
    from types import TracebackType

_INSTALL = "; list it in requirements.txt beside the script, or install it in an image made from this one"


def told(error: BaseException, folder: Path) -> BaseException:
    """What to raise in place of an exception that came out of the script.

    Parameters
    ----------
    error
        Anything; `SystemExit` is one that stands for a failure.
    folder
        Where the user's code lies.

    Returns
    -------
    BaseException
        A mistake as such, a lost peer as the effect that it is, and everything else as the script's failure.
    """
    place = _place(error, folder)
    match error:
        case UserError() | PlatformError():
            return type(error)(f"{place}{error}")
        case RingError() | MemoryError():
            return error
        case SyntaxError() if (own := _own(error.filename, folder)) is not None:
            return UserError(f"{own}, line {error.lineno}: {error.msg}")
    if _is_of_mpi(error):
        return PeerLostError(f"{place}MPI lost contact with another rank, or was misused ({error})")
    return ScriptError(place + _said(error), _details(error, folder))


def _said(error: BaseException) -> str:
    """One line on what happened."""
    if isinstance(error, SystemExit):
        code = error.code
        return f"the script ended with exit code {code}" if isinstance(code, int) else str(code)
    lines = traceback.TracebackException(type(error), error, None).format_exception_only()
    hint = _INSTALL if isinstance(error, ModuleNotFoundError) else ""
    return next(line for line in lines if not line.startswith(" ")).splitlines()[0] + hint


def _is_of_mpi(error: BaseException) -> bool:
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is not None and isinstance(error, mpi.Exception)


def _place(error: BaseException, folder: Path) -> str:
    """Such as ``train.py, line 12: ``: the innermost line of the user's; empty where none is."""
    own = [
        (_own(frame.filename, folder), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)
    ]
    mine = [(name, line) for name, line in own if name is not None]
    return f"{mine[-1][0]}, line {mine[-1][1]}: " if mine else ""


def _own(filename: str | None, folder: Path) -> str | None:
    """A file's name below the user's code, or None for any other."""
    path = Path(filename or "")
    if not path.is_relative_to(folder) or "site-packages" in path.parts:
        return None
    return path.relative_to(folder).as_posix()


def _details(error: BaseException, folder: Path) -> str:
    """The traceback, from the user's first line on."""
    first: TracebackType | None = error.__traceback__
    while first is not None and _own(first.tb_frame.f_code.co_filename, folder) is None:
        first = first.tb_next
    return "".join(traceback.format_exception(type(error), error, first or error.__traceback__))
