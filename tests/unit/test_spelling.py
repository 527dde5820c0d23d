"""A misspelt name leads to the one that was meant."""

from __future__ import annotations

import pytest

from treering.spelling import nearest


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("max_dept", ["max_depth", "max_bin"], " (did you mean max_depth?)"),
        ("Max-Depth", ["max_depth", "max_bin"], " (did you mean max_depth?)"),
        ("objectiv", ["eta", "objective"], " (did you mean objective?)"),
        ("zzz", ["eta", "objective"], ""),
        ("eta", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    """The most similar known name is suggested whatever its case and dashes; nothing when none is similar."""
    assert nearest(name, known) == hint
