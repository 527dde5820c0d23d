"""`treering.progress`: where a rank is reaches its supervisor, the newest word last, at little cost."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.frames import decode, encode
from treering.progress import Position, Progress
from treering.report import STATUS_VARIABLE, Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTS = st.integers(0, 2**62)
_POSITIONS = st.builds(Position, _COUNTS, st.text(), _COUNTS, st.none() | _COUNTS, st.text(), _COUNTS)


@contextlib.contextmanager
def _line() -> Iterator[tuple[socket.socket, Progress]]:
    """The supervisor's end, with a time limit, and the work's."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    reporter = Reporter({STATUS_VARIABLE: str(theirs.detach())})
    with ours:
        yield ours, Progress(reporter)
    assert reporter._socket is not None  # noqa: SLF001  # a rank never closes it, but this process lives on
    reporter._socket.close()  # noqa: SLF001  # likewise


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, Progress]]:
    """Both ends."""
    with _line() as both:
        yield both


def _next(ours: socket.socket) -> Position:
    """The next position that is reported."""
    text = b""
    while not text.endswith(b"\n"):
        text += ours.recv(1)
    message = decode(text)
    assert message["type"] == "at"
    return Position.from_json(message["position"])


def test_without_a_supervisor_nobody_is_told() -> None:
    """Work that was started by hand, or by a test, runs as ever and is never asked to stop."""
    progress = Progress()
    progress.phase("training", 10, "rounds")
    progress.advance(1)
    progress.stopped("nothing", saved_model=False)
    assert not progress.stop_requested()


def test_a_phase_is_told_at_once(line: tuple[socket.socket, Progress]) -> None:
    """Each phase has a number, by which ranks are compared, and starts at nothing."""
    ours, progress = line
    for step, name in enumerate(["loading", "cuts", "matrix", "loading"], start=1):
        progress.phase(name)
        assert _next(ours) == Position(step, name)


def test_what_was_done_before_is_told_with_the_phase(line: tuple[socket.socket, Progress]) -> None:
    """A training that goes on from a checkpoint begins at its rounds, of the same total."""
    ours, progress = line
    progress.phase("training", 100, "rounds", done=40)
    assert _next(ours) == Position(1, "training", 40, 100, "rounds")


def test_the_newest_position_is_told_though_the_work_hangs(line: tuple[socket.socket, Progress]) -> None:
    """Calls without a pause are few messages; the last one arrives without any further call."""
    ours, progress = line
    progress.phase("training", 100_000, "rounds")
    for done in range(100_001):
        progress.advance(done)
    told = [_next(ours)]
    while told[-1].done < 100_000:
        told.append(_next(ours))
    assert told[-1] == Position(1, "training", 100_000, 100_000, "rounds")
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert len(told) < 100


def test_what_does_not_change_is_not_told_again(line: tuple[socket.socket, Progress]) -> None:
    """A call that repeats itself is no progress."""
    ours, progress = line
    progress.phase("training")
    progress.advance(1)
    assert [_next(ours), _next(ours)] == [Position(1, "training"), Position(1, "training", 1)]
    progress.advance(1)
    progress.advance(2)
    assert _next(ours) == Position(1, "training", 2)


def test_a_stop_is_heard(line: tuple[socket.socket, Progress]) -> None:
    """The supervisor's word is there when the work asks for it, and stays."""
    ours, progress = line
    assert not progress.stop_requested()
    ours.sendall(encode("stop"))
    assert progress.stop_requested()
    assert progress.stop_requested()


def test_a_supervisor_that_is_gone_asks_for_nothing() -> None:
    """The kernel ends the rank then; a closed socket is no order to save anything."""
    with _line() as (ours, progress):
        ours.close()
        progress.phase("training")
        progress.advance(1)
        assert not progress.stop_requested()


def test_what_is_kept_is_told(line: tuple[socket.socket, Progress]) -> None:
    """The last word of an early end, as the supervisor reads it."""
    ours, progress = line
    progress.stopped("round 3 is kept", saved_model=False)
    expected = {"type": "stopped", "sentence": "round 3 is kept", "saved_model": False}
    assert decode(ours.recv(4096)) == expected


@given(_POSITIONS)
def test_a_position_travels(position: Position) -> None:
    """What one host writes as JSON another one reads as the same position."""
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


@pytest.mark.parametrize("value", [None, [], {}, {"step": "x"}, {"step": 1, "phase": "a", "done": 1}])
def test_garbage_is_no_position(value: object) -> None:
    """Anything else is refused with an error that callers expect."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        Position.from_json(value)


def test_who_is_behind_comes_first() -> None:
    """Earlier phases first; within one, the smaller part done, whatever the totals."""
    expected = [
        Position(),
        Position(1, "loading"),
        Position(1, "loading", 10, 100),
        Position(1, "loading", 2, 10),
        Position(1, "loading", 10, 10),
        Position(2, "training", 0, 20),
        Position(2, "training", 1, 10),
    ]
    assert all(one.order < other.order for one, other in itertools.pairwise(expected))
    assert Position(1, "loading", 3, 3).order == Position(1, "loading", 7, 7).order
    assert Position(1, "loading", 0, 0).order == Position(1, "loading", 7, 7).order, "nothing to do is done"


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Position(1, "cuts"), "cuts"),
        (Position(4, "training", 12, 100, "rounds"), "training, 12 of 100 rounds"),
        (Position(4, "training", 0, 100, "rounds"), "training, 0 of 100 rounds"),
        (
            Position(1, "loading train", 1_500_000, 1_234_560_000, "bytes", 12_345),
            "loading train, 1.5 of 1,234.6 MB, 12,345 rows",
        ),
        (Position(1, "loading train", 1_500_000, None, "bytes"), "loading train, 1.5 MB"),
        (Position(1, "the script", 1500, None, "calls"), "the script, 1,500 calls"),
        (Position(1, "loading", 3), "loading, 3"),
    ],
)
def test_a_position_in_words(position: Position, text: str) -> None:
    """As it stands in a failure's sentence."""
    assert str(position) == text
