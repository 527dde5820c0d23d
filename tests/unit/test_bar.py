"""`treering.bar` on a real terminal: what a person sees, and what is left of it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import termios
from typing import TYPE_CHECKING, TextIO

import pytest

from treering.bar import Bar
from treering.progress import Position

if TYPE_CHECKING:
    from collections.abc import Iterator

_XTERM = {"TERM": "xterm"}


class _Terminal:
    """A pty: what is written to it, and what is then on the screen's lines."""

    def __init__(self, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
        self.stream: TextIO = os.fdopen(theirs, "w")
        self._columns = columns or 80
        self._raw = ""

    def read(self) -> str:
        """All that was written so far."""
        self.stream.flush()
        os.set_blocking(self._ours, False)
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._ours, 65536):
                self._raw += part.decode()
        return self._raw

    def screen(self) -> list[str]:
        """The lines, the last one that with the cursor; raises AssertionError where one is too long."""
        lines, line = [], ""
        for piece in self.read().replace("\r\x1b[K", "\0").replace("\r\n", "\n"):
            if piece == "\0":
                line = ""
            elif piece == "\n":
                lines.append(line)
                line = ""
            else:
                line += piece
                assert len(line) < self._columns, "it would wrap, and could not be erased"
        return [*lines, line]

    def close(self) -> None:
        self.stream.close()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[_Terminal]:
    """80 columns wide."""
    made = _Terminal(80)
    yield made
    made.close()


def _training(done: int, step: int = 1) -> Position:
    return Position(step, "training", done, 100, "rounds")


def _clock() -> Iterator[float]:
    """A second each time it is asked."""
    now = 0.0
    while True:
        yield now
        now += 1


def test_the_bar_follows_the_rank_that_is_last(terminal: _Terminal) -> None:
    """One line that is drawn over itself: the phase, how much, how fast, and how long it will take."""
    ticks = _clock()
    bar = Bar(terminal.stream, _XTERM, lambda: next(ticks))
    bar.move(0, _training(0))
    assert terminal.screen() == [f"training [{'.' * 30}] 0%"]
    bar.move(1, _training(0))
    bar.move(0, _training(60))
    assert terminal.screen() == [f"training [{'.' * 30}] 0%"]
    bar.move(1, _training(50))
    assert terminal.screen() == [f"training [{'#' * 15}{'.' * 15}] 50%, 25 rounds/s, 2 s left"]


def test_lines_of_a_log_stay_whole(terminal: _Terminal) -> None:
    """The bar makes room for them, and comes back below; at the end nothing of it is left."""
    bar = Bar(terminal.stream, _XTERM)
    for done in range(20):
        with bar.aside():
            terminal.stream.write(f"[{done}]\ttrain-rmse:0.5\n")
        bar.move(0, _training(done))
        assert terminal.screen()[-1].startswith("training [")
    bar.erase()
    expected = [f"[{done}]\ttrain-rmse:0.5".expandtabs() for done in range(20)]
    assert [line.expandtabs() for line in terminal.screen()] == [*expected, ""]


def test_a_line_that_is_not_ended_is_not_drawn_over(terminal: _Terminal) -> None:
    """As long as a log's last line lacks its end, there is no bar, however the ranks move."""
    bar = Bar(terminal.stream, _XTERM)
    bar.move(0, _training(1))
    with bar.aside(whole=False):
        terminal.stream.write("half a li")
    bar.move(0, _training(2))
    assert terminal.screen() == ["half a li"]
    with bar.aside():
        terminal.stream.write("ne\n")
    assert terminal.screen()[0] == "half a line"
    assert terminal.screen()[1].startswith("training [")


def test_a_phase_of_unknown_length_has_no_bar(terminal: _Terminal) -> None:
    """Half a bar from the phase before would be a lie."""
    bar = Bar(terminal.stream, _XTERM)
    bar.move(0, _training(50))
    bar.move(0, Position(2, "saving"))
    assert terminal.screen() == [""]


@pytest.mark.parametrize("columns", [0, 5, 20, 60, 200])
def test_it_fits_the_terminal(columns: int) -> None:
    """A line that wrapped could not be erased; a terminal that does not know its width has 80 columns."""
    terminal = _Terminal(columns)
    bar = Bar(terminal.stream, _XTERM)
    for done in range(0, 101, 10):
        bar.move(0, Position(1, "loading " + "train" * 9, done * 10**9, 10**11, "bytes", 10**9))
    assert len(terminal.screen()) == 1
    terminal.close()


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {}])
def test_a_terminal_that_cannot_erase_has_none(terminal: _Terminal, environ: dict[str, str]) -> None:
    """It would be a new line each time."""
    bar = Bar(terminal.stream, environ)
    bar.move(0, _training(5))
    with bar.aside():
        pass
    assert not bar.is_shown
    assert not terminal.read()


def test_a_file_or_a_pipe_has_none() -> None:
    """Whoever reads it later gets the log alone."""
    stream = io.StringIO()
    bar = Bar(stream, _XTERM)
    bar.move(0, _training(5))
    bar.erase()
    assert not bar.is_shown
    assert not stream.getvalue()


def test_a_terminal_that_is_gone_is_no_trouble() -> None:
    """The job goes on without it."""
    terminal = _Terminal(80)
    bar = Bar(terminal.stream, _XTERM)
    bar.move(0, _training(1))
    os.close(terminal._ours)  # noqa: SLF001  # as when a window is closed
    bar.move(0, _training(2))
    bar.erase()
    with contextlib.suppress(OSError):
        terminal.stream.close()
