"""`docs/from-aws-image.md` claims nothing that no test shows."""

from __future__ import annotations

import re
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
_TEXT = (_REPOSITORY / "docs" / "from-aws-image.md").read_text()
_TESTS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", _TEXT)


def test_every_test_that_is_named_exists() -> None:
    """By its file and its name."""
    assert _TESTS
    missing = [
        f"{file}::{name}" for file, name in _TESTS if f"\ndef {name}(" not in (_REPOSITORY / file).read_text()
    ]
    assert not missing


def test_every_weakness_has_a_test() -> None:
    """The lines of the table are numbered without a gap, and each ends with at least one test."""
    lines = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", _TEXT, re.MULTILINE)
    assert [int(number) for number, _ in lines] == list(range(1, 17))
    assert all("::test_" in tests for _, tests in lines)
