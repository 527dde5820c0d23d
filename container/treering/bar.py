"""The bar of `treering local` on a terminal: one line below the log that follows the rank furthest behind."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from treering.pace import Paces, slowest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from treering.pace import Pace
    from treering.progress import Position

_ERASE: Final = "\r\x1b[K"  # back to the line's begin, and everything behind it is gone
_WIDTH: Final = 30  # characters of the bar itself
_COLUMNS: Final = 80  # of a terminal that does not know


class Bar:
    """Draws on a terminal, and nothing at all where there is none.

    Parameters
    ----------
    stream
        Where to.
    environ
        A terminal that says it is dumb cannot erase.
    clock
        Seconds.
    """

    def __init__(
        self, stream: TextIO, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.is_shown = stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._stream = stream
        self._known = Paces(clock)
        self._paces: dict[int, Pace] = {}
        self._drawn = False
        self._is_free = True  # the last line of the terminal

    def move(self, rank: int, position: Position) -> None:
        """Take in where a rank is."""
        self._paces[rank] = self._known.of(rank, position)
        self._draw()

    @contextlib.contextmanager
    def aside(self, *, whole: bool = True) -> Iterator[None]:
        """Let others write to the terminal; unless they leave a line without its end, the bar comes back below."""
        self.erase()
        yield
        self._is_free = whole
        self._draw()

    def erase(self) -> None:
        """Take the bar away, until a rank moves."""
        if self._drawn:
            self._write(_ERASE)
        self._drawn = False

    def _draw(self) -> None:
        last = slowest(self._paces) if self.is_shown and self._is_free else None
        if last is None:
            self.erase()
            return
        self._write(_ERASE + _line(last[1], self._columns()))
        self._drawn = True

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except OSError:
            return _COLUMNS

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone: the job is not
            self._stream.flush()
            os.write(self._stream.fileno(), text.encode())


def _line(pace: Pace, columns: int) -> str:
    """What fits into one line of a terminal, and does not wrap."""
    full = _WIDTH * pace.percent // 100
    bar = "#" * full + "." * (_WIDTH - full)
    told = f"{pace.position.phase} [{bar}] {pace.percent}%"
    return ", ".join(filter(None, [told, pace.forecast]))[: columns - 1]
