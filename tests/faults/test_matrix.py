"""The fault matrix, each case once in each of its layouts, with shortened clocks and a generous deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .cases import CASES
from .run import QUICK, problems, run

if TYPE_CHECKING:
    from pathlib import Path

    from .case import Case, Layout
    from .run import Ground

_RUNS = [pytest.param(case, layout, id=f"{case.name}, {layout}") for case in CASES for layout in case.layouts]


@pytest.mark.parametrize(("case", "layout"), _RUNS)
def test_every_host_ends_as_it_should(case: Case, layout: Layout, tmp_path: Path, ground: Ground) -> None:
    """All hosts end alike, name the culprit and the cause, and leave nothing behind; or the job goes on."""
    outcome = run(case, layout, QUICK, tmp_path / "lab", ground)
    found = problems(case, layout, outcome)
    assert not found, "\n".join([*found, outcome.logs])


def test_every_case_has_a_name_of_its_own() -> None:
    """The table has one row each."""
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
