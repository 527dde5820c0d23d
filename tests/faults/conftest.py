"""What the fault matrix needs: data that takes a while to load, and a machine that allows the faults.

Where something is missing, cases are skipped with the reason; with TREERING_REQUIRE_FAULTS set, nothing may
be skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import docker_engine
import numpy as np
import pytest
from docker_engine import docker, image

from . import network
from .jobs import make_large
from .run import Ground

if TYPE_CHECKING:
    from collections.abc import Generator

    from .case import Case

__all__ = ["docker", "image"]  # fixtures: pytest finds them here

_HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The large channel."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    return make_large(tmp_path_factory.mktemp("data"), seed)


@pytest.fixture
def ground(request: pytest.FixtureRequest, case: Case, large: Path) -> Ground:
    """What a case needs; it is skipped where this machine has not got it."""
    reason = network.missing() if "network" in case.needs else None
    if reason is None and "mounts" in case.needs and os.geteuid() != 0:
        reason = "mounting a full disk needs root"
    if reason is not None:
        pytest.skip(reason)
    name: str | None = None if case.container is None else request.getfixturevalue("image")
    return Ground(large, name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first case in a container builds the image."""
    docker_engine.give_time_to_build(items, _HERE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the whole matrix is required, a case that was skipped has failed."""
    report = yield
    if item.path.is_relative_to(_HERE):
        docker_engine.forbid_skipping(report, "TREERING_REQUIRE_FAULTS")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the cases ran."""
    docker_engine.tell_how_many_ran(terminalreporter, "fault", _HERE)
