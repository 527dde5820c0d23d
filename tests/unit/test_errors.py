"""`treering.errors`: one sentence, the host it is about, and who has to act."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.errors import (
    Failure,
    Kind,
    PeerLostError,
    PlatformError,
    RingError,
    ScriptError,
    TreeringError,
    UserError,
)
from treering.frames import HOST_LIMIT

_FAILURES = st.builds(Failure, st.sampled_from(Kind), st.text(), st.text(), st.text())


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "kind", "headline", "has_traceback"),
    [
        (UserError("no label"), Kind.USER, "algo-2: UserError: no label", False),
        (PlatformError("disk full"), Kind.PLATFORM, "algo-2: disk full", False),
        (
            ScriptError("train.py, line 2: no", "Traceback"),
            Kind.INTERNAL,
            "algo-2: train.py, line 2: no",
            True,
        ),
        (RingError("refused"), Kind.RING, "algo-2: refused", False),
        (RingError("cannot be reached", "algo-1"), Kind.RING, "algo-1: cannot be reached", False),
        (PeerLostError("MPI lost contact"), Kind.PEER, "algo-2: MPI lost contact", True),
        (ZeroDivisionError("by zero"), Kind.INTERNAL, "algo-2: ZeroDivisionError: by zero", True),
        (KeyError("eta"), Kind.INTERNAL, "algo-2: KeyError: 'eta'", True),
        (TreeringError("base"), Kind.INTERNAL, "algo-2: TreeringError: base", True),
        (AssertionError(), Kind.INTERNAL, "algo-2: AssertionError: no message", True),
    ],
)
def test_an_exception_becomes_a_failure(
    error: Exception, kind: Kind, headline: str, *, has_traceback: bool
) -> None:
    """What was raised on purpose is its sentence alone; the unforeseen keeps its traceback."""
    failure = Failure.of(_raised(error), "algo-2")
    assert failure.kind is kind
    assert failure.headline == headline
    assert ("Traceback" in failure.details) == has_traceback


def test_ends_of_the_process_are_failures_too() -> None:
    """Whatever ends a rank has a headline, an interrupt and an exit included."""
    assert Failure.of(SystemExit(3), "algo-1").headline == (
        "algo-1: something in its rank called sys.exit(3) before the work was done; see below where"
    )
    assert Failure.of(KeyboardInterrupt(), "algo-1").headline == "algo-1: KeyboardInterrupt: no message"
    assert Failure.of(OSError(), "algo-1").headline == "algo-1: OSError: no message"


def test_memory_that_ran_out_is_no_riddle() -> None:
    """Python's own word for it becomes a sentence that says what to change."""
    failure = Failure.of(_raised(MemoryError("Unable to allocate 3 GiB")), "algo-1")
    assert failure.kind is Kind.PLATFORM
    assert failure.headline.startswith("algo-1: memory ran out (Unable to allocate 3 GiB); use a larger")


def test_an_exception_without_a_readable_text_is_still_told() -> None:
    """A class of a user's own may raise where its text is asked for."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    failure = Failure.of(_raised(OddError()), "algo-1")
    assert failure.headline == "algo-1: OddError: its message could not be read: ZeroDivisionError"


@given(_FAILURES, st.integers(0, 50_000))
def test_what_travels_is_bounded(failure: Failure, length: int) -> None:
    """A short failure stays as it is; of a long one the sentence keeps its start, the details their end."""
    assert failure.cut() == failure
    long = dataclasses.replace(failure, sentence="a" + "\U0001f600" * length, details="x" * length + "z")
    cut = long.cut()
    assert len(json.dumps(cut.to_json())) < HOST_LIMIT
    assert cut.sentence.startswith("a")
    assert cut.details.endswith("z")
    assert (cut.kind, cut.host) == (failure.kind, failure.host)


def test_only_user_mistakes_are_marked() -> None:
    """The mark tells the user that it is theirs to mend, so nothing else may carry it."""
    for kind in Kind:
        headline = Failure(kind, "algo-1", "sentence").headline
        assert headline == f"algo-1: {'UserError: ' if kind is Kind.USER else ''}sentence"


def test_the_failure_file_has_the_headline_first() -> None:
    """SageMaker shows the first 1,024 characters; details come after an empty line, if there are any."""
    assert Failure(Kind.RING, "algo-1", "gone").text() == "algo-1: gone\n"
    assert Failure(Kind.RING, "algo-1", "gone", "why\nand how\n").text() == "algo-1: gone\n\nwhy\nand how\n"


def test_causes_outrank_their_effects() -> None:
    """The root of the trouble comes first: mistakes, then deaths, then silence, then mere echoes."""
    expected = [
        "user",
        "platform",
        "died",
        "internal",
        "crashed",
        "stopped",
        "lost",
        "stalled",
        "ring",
        "peer",
    ]
    assert [kind.value for kind in sorted(Kind, key=lambda kind: kind.rank_order)] == expected


def test_a_crash_is_an_exception_that_nobody_could_report() -> None:
    """Either may be the echo of the other, so only their time tells; all other kinds differ."""
    assert Kind.CRASHED.rank_order == Kind.INTERNAL.rank_order
    assert len({kind.rank_order for kind in Kind}) == len(Kind) - 1


@given(_FAILURES)
def test_a_failure_travels_between_hosts(failure: Failure) -> None:
    """What one host writes as JSON another one reads as the same failure."""
    assert Failure.from_json(json.loads(json.dumps(failure.to_json()))) == failure


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"kind": "user", "host": "algo-1", "sentence": "no details"},
        {"kind": "unknown", "host": "algo-1", "sentence": "", "details": ""},
        {"kind": ["user"], "host": "algo-1", "sentence": "", "details": ""},
        {"kind": None, "host": "algo-1", "sentence": "", "details": ""},
        [],
        None,
        "user",
    ],
)
def test_garbage_is_no_failure(value: object) -> None:
    """Anything else than a failure is refused with an error that callers expect."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        Failure.from_json(value)
