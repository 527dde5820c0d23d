"""`treering.pace`: how fast work goes, when it is through, and how often people are told."""

from __future__ import annotations

import json
import logging
import os
import random
from typing import TYPE_CHECKING

import pytest

from treering.pace import PIPE_VARIABLE, Paces, Teller, slowest
from treering.progress import Position

if TYPE_CHECKING:
    from collections.abc import Callable


class _Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    """Stands still by itself."""
    return _Clock()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the lines in the log so far."""
    caplog.set_level(logging.INFO, "treering.pace")
    return lambda: caplog.messages


def _training(done: int, total: int | None = 1000, step: int = 3) -> Position:
    return Position(step, "training", done, total, "rounds")


@pytest.mark.parametrize(
    ("first", "then", "seconds", "line"),
    [
        (
            Position(2, "loading train", 0, 4_000_000_000, "bytes"),
            Position(2, "loading train", 1_000_000_000, 4_000_000_000, "bytes", 1_234_567),
            10,
            "loading train, 1,000.0 of 4,000.0 MB, 1,234,567 rows, 25%, 100 MB/s, 30 s left",
        ),
        (_training(0), _training(20), 40, "training, 20 of 1,000 rounds, 2%, 0.5 rounds/s, 33 min left"),
        (_training(0), _training(2), 40, "training, 2 of 1,000 rounds, 0%, 0.05 rounds/s, 5.5 h left"),
        (_training(400), _training(700), 30, "training, 700 of 1,000 rounds, 70%, 10 rounds/s, 30 s left"),
        (_training(0), _training(0), 30, "training, 0 of 1,000 rounds, 0%"),
        (_training(0), _training(999), 1, "training, 999 of 1,000 rounds, 99%, 999 rounds/s, 0 s left"),
        (_training(0), _training(5000, 5000), 1, "training, 5,000 of 5,000 rounds, 100%, 5,000 rounds/s, 0 s left"),
    ],
)  # fmt: skip
def test_a_pace_in_words(clock: _Clock, first: Position, then: Position, seconds: float, line: str) -> None:
    """Speed is that of this phase since it was first seen: what a checkpoint had is no speed."""
    paces = Paces(clock)
    paces.of(0, first)
    clock.now += seconds
    assert str(paces.of(0, then)) == line


def test_a_phase_begins_anew(clock: _Clock) -> None:
    """Neither the time nor the work of another phase counts, nor another rank's."""
    paces = Paces(clock)
    paces.of(0, _training(0, step=1))
    clock.now += 100
    assert paces.of(0, _training(500, step=2)).speed == 0
    assert paces.of(1, _training(500, step=1)).speed == 0
    clock.now += 10
    assert paces.of(0, _training(600, step=2)).speed == pytest.approx(10)


def test_the_slowest_rank_is_told(clock: _Clock) -> None:
    """The one that is furthest behind, whoever is in a phase of unknown length or has nothing to do."""
    paces = Paces(clock)

    def rank(*positions: Position) -> int | None:
        found = slowest({rank: paces.of(rank, position) for rank, position in enumerate(positions)})
        return None if found is None else found[0]

    assert rank() is None
    assert rank(_training(5), _training(4), _training(4)) == 1
    assert rank(_training(5), _training(4, step=4)) == 0
    assert rank(_training(5), _training(0, 0)) == 0
    assert rank(_training(0, 0)) is None
    assert rank(_training(5), Position(2, "matrix")) is None


def test_short_phases_are_not_told(clock: _Clock, told: Callable[[], list[str]]) -> None:
    """A job whose phases each take less than 10 s has not a line more than before."""
    teller = Teller(None, clock)
    for step in range(20):
        for done in range(0, 1000, 100):
            teller.look({0: _training(done, step=step)})
            clock.now += 0.99
    assert not told()


def test_lines_keep_their_distance(clock: _Clock, told: Callable[[], list[str]]) -> None:
    """The first after 10 s, never two within 10 s, and ever rarer; but within 5 minutes there is always one."""
    teller = Teller(None, clock)
    seed = random.randrange(2**32)
    print(f"seed={seed}")
    draw = random.Random(seed)
    begin = clock.now
    told_at: list[float] = []
    while clock.now < begin + 20_000:
        teller.look({rank: _training(int(clock.now - begin), 20_000) for rank in range(4)})
        if len(told()) > len(told_at):
            told_at.append(clock.now)
        clock.now += draw.uniform(0.5, 2)
    gaps = [after - before for before, after in zip([begin, *told_at], told_at, strict=False)]
    assert len(told()) == len(told_at)
    assert min(gaps) >= 10
    assert max(gaps) <= 302
    assert max(gaps[:5]) <= 12
    assert min(gaps[-5:]) >= 300
    assert all(line.startswith("rank 0: training, ") for line in told())


def test_lines_of_many_ranks_and_phases_keep_their_distance(
    clock: _Clock, told: Callable[[], list[str]]
) -> None:
    """What a host tells counts together: a new phase or another rank that is last is no reason for a line."""
    teller = Teller(None, clock)
    for second in range(100):
        teller.look({rank: _training((second + rank) % 7, 10, step=second // 13) for rank in range(3)})
        clock.now += 1
    assert len(told()) == 100 // 13


def test_without_a_total_there_is_nothing_to_tell(clock: _Clock, told: Callable[[], list[str]]) -> None:
    """A script that only counts its calls, a phase of unknown length: no line, however long it takes."""
    teller = Teller(None, clock)
    for done in range(100):
        teller.look({0: Position(1, "the script", done, None, "calls")})
        teller.look({})
        clock.now += 10
    assert not told()


def test_a_pipe_gets_all_and_the_log_nothing(clock: _Clock, told: Callable[[], list[str]]) -> None:
    """Who draws a bar hears of every rank at every look; the variable that names the pipe is gone then."""
    reads, writes = os.pipe()
    environ = {PIPE_VARIABLE: str(writes), "PATH": "/bin"}
    teller = Teller.from_environment(environ)
    assert environ == {"PATH": "/bin"}
    teller.look({0: _training(5), 3: _training(6)})
    clock.now += 1000
    teller.look({0: _training(7)})
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        heard = [json.loads(line) for line in pipe]
    assert [(each["rank"], Position.from_json(each["position"])) for each in heard] == [
        (0, _training(5)),
        (3, _training(6)),
        (0, _training(7)),
    ]
    assert not told()


@pytest.mark.parametrize("is_read", [True, False], ids=["full", "closed"])
def test_nobody_at_the_pipe_is_no_trouble(is_read: bool) -> None:
    """A bar that does not keep up misses words; one that is gone has none: the host goes on."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    if not is_read:
        os.close(reads)
    teller = Teller(writes)
    for done in range(5000):
        teller.look({0: _training(done)})
    os.close(writes)
    if is_read:
        os.close(reads)
