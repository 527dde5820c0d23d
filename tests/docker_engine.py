"""A Docker Engine and our image, for every test that needs them.

The fixtures skip with the reason where there is no engine. A folder of tests that CI must not skip names
a variable, which turns each skip into a failure, and ends with a line that says how many of its tests ran.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
DOCKER = shutil.which("docker")
BUILD_SECONDS = 1800


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a docker command ended; for a container in the foreground, how the container did."""

    code: int
    log: str

    @property
    def rounds(self) -> list[str]:
        """The log's metric lines, without what compose puts before them."""
        return re.findall(r"\[\d+\]\t.*", self.log)


def run_docker(*arguments: str, **variables: str) -> Ended:
    """Run a docker command in the repository's root, with further environment variables."""
    assert DOCKER is not None
    ended = subprocess.run(
        (DOCKER, *arguments),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | variables,
    )
    return Ended(ended.returncode, ended.stdout)


def missing() -> str | None:
    """What these tests lack on this machine, or None."""
    if DOCKER is None:
        return "no Docker Engine: there is no docker command"
    for what, arguments in {
        "no Docker Engine answers": ("version",),
        "docker has no buildx plugin": ("buildx", "version"),
        "docker has no compose plugin": ("compose", "version"),
    }.items():
        tried = run_docker(*arguments)
        if tried.code != 0:
            return f"{what}: {tried.log.strip().splitlines()[-1]}"
    return None


@pytest.fixture(scope="session")
def docker() -> Callable[..., Ended]:
    """`run_docker`, with an engine that answers and has the plugins that these tests use."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    return run_docker


@pytest.fixture(scope="session")
def image(docker: Callable[..., Ended]) -> str:  # noqa: ARG001  # nothing is built without an engine
    """The image under test: the one that TREERING_IMAGE names, else the working tree's, built here."""
    name = os.environ.get("TREERING_IMAGE")
    if name is None:
        name = "treering:cpu"
        built = subprocess.run(
            (REPOSITORY / "scripts" / "build_image.sh", name),
            check=False,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        assert built.returncode == 0, (
            f"the image does not build:\n{built.stdout[-4000:]}\n{built.stderr[-4000:]}"
        )
    return name


_WITH_SCIKIT_LEARN = """\
ARG IMAGE
FROM ${IMAGE}
ARG VERSION
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python -m pip install scikit-learn==${VERSION}
"""


@pytest.fixture(scope="session")
def with_scikit_learn(
    docker: Callable[..., Ended], image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An image made from ours for scripts that use scikit-learn, as docs/script-mode.md says."""
    folder = tmp_path_factory.mktemp("with-scikit-learn")
    (folder / "Dockerfile").write_text(_WITH_SCIKIT_LEARN)
    name = f"treering-test:{uuid.uuid4().hex[:12]}"
    given = [f"--build-arg=IMAGE={image}", f"--build-arg=VERSION={metadata.version('scikit-learn')}"]
    variables = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    authority = next(filter(None, map(os.environ.get, variables)), "")
    if Path(authority).is_file():
        given.append(f"--secret=id=ca,src={authority}")
    built = docker("buildx", "build", "--load", "--progress=plain", *given, "--tag", name, str(folder))
    assert built.code == 0, built.log
    yield name
    docker("image", "rm", "--force", name)


def give_time_to_build(items: list[pytest.Item], folder: Path) -> None:
    """The first test in `folder` to run builds the image, so each may take as long as that."""
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


def forbid_skipping(report: pytest.TestReport, variable: str) -> pytest.TestReport:
    """Turn a skip into a failure where the environment variable is 1."""
    if os.environ.get(variable) == "1" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, but {variable} is set: {report.longrepr}"
    return report


def tell_how_many_ran(reporter: pytest.TerminalReporter, name: str, folder: Path) -> None:
    """Write ``NAME tests: N ran, M skipped`` for the tests in `folder`."""
    here = folder.relative_to(REPOSITORY).as_posix() + "/"

    def ours(reports: list[pytest.TestReport]) -> Iterator[pytest.TestReport]:
        return (
            each for each in reports if isinstance(each, pytest.TestReport) and each.nodeid.startswith(here)
        )

    ran = sum(
        each.when == "call" and not each.skipped for all_ in reporter.stats.values() for each in ours(all_)
    )
    skipped = len(list(ours(reporter.stats.get("skipped", []))))
    reporter.write_line(f"{name} tests: {ran} ran, {skipped} skipped")
