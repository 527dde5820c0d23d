"""`treering.forecast`: how much ranks send, and what is said of it."""

from __future__ import annotations

import pytest

from treering.forecast import Forecast, bytes_a_round
from treering.hyperparameters import Hyperparameters


def _chosen(**given: str) -> Hyperparameters:
    return Hyperparameters.parse({"num_round": "10"} | given)


@pytest.mark.parametrize(
    ("ranks", "bins", "given", "expected"),
    [
        (1, 1000, {"max_depth": "1"}, 16_000),
        (2, 7168, {"max_depth": "8"}, 1.5 * 128 * 7168 * 16),
        (2, 7168, {}, 1.5 * 32 * 7168 * 16),
        (4, 7168, {"max_depth": "3", "num_parallel_tree": "5"}, 5 * 1.75 * 4 * 7168 * 16),
        (2, 100, {"objective": "multi:softprob", "num_class": "7"}, 7 * 1.5 * 32 * 100 * 16),
        (2, 100, {"grow_policy": "lossguide", "max_depth": "0", "max_leaves": "20"}, 1.5 * 20 * 100 * 16),
    ],
)
def test_bytes_follow_the_formula(ranks: int, bins: int, given: dict[str, str], expected: float) -> None:
    """Ranks, bins, depth or leaves, classes and parallel trees all count."""
    assert bytes_a_round(ranks, bins, _chosen(**given)) == expected


def _said(size: float, rate: float, turn: float) -> list[str | None]:
    """What is said after each of ten rounds; the first takes a minute more."""
    times = iter([60.0, *(60 + turn * step for step in range(1, 10))])
    forecast = Forecast(size, rate, lambda: next(times))
    return [forecast.round_over() for _ in range(10)]


def test_it_is_said_once() -> None:
    """After the rounds that are timed, whatever the first one took."""
    said = _said(size=20e6, rate=100e6, turn=2.0)
    assert [line is not None for line in said] == [False] * 4 + [True] + [False] * 5
    assert said[4] == (
        "communication: each rank sends about 20.0 MB a round, which takes about 0.2 s at the 800 Mbit/s measured; a "
        "round takes 2 s, of which 1.8 s are left for computing"
    )


def test_where_talk_prevails_there_is_advice() -> None:
    """And only there."""
    advice = "Fewer hosts, a faster network, or a smaller max_depth or max_bin would train faster"
    assert advice in (_said(size=20e6, rate=100e6, turn=0.3)[4] or "")
    assert advice not in (_said(size=20e6, rate=100e6, turn=0.5)[4] or "")
