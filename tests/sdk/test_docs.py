"""Every command in the documentation runs, in the order of its page, or says on the page why it does not.

A command stands in a ``sh`` fence. One that cannot run in a test has the words "not run by the tests:" and the reason
in the paragraph above the fence, or for a single line in its comment. Programs in other languages are never run, so
each has them.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from docker_engine import REPOSITORY, run_docker
from sdk.conftest import without_account

if TYPE_CHECKING:
    from collections.abc import Callable

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
NOT_RUN = re.compile(r"not run by the tests: *(?P<reason>\S.*\S)", re.IGNORECASE)
COMMAND = re.compile(
    r"^\s*(\$ |make\b|docker\b|aws\b|git\b|pip\b|uv\b|curl\b|python3?\b|treering\s|scripts/|\.venv/|sudo\b)"
)
ANSWER = "text"  # the kind of a fence that shows what a command prints
NO_PROGRAM = {"", ANSWER, "json"}  # the kinds that nothing could run


class Block(NamedTuple):
    """The inside of one fence."""

    kind: str
    text: str
    line: int
    reason: str | None

    @property
    def script(self) -> str:
        """The lines that are to run."""
        if self.reason is not None:
            return ""
        return "".join(line for line in self.text.splitlines(keepends=True) if not NOT_RUN.search(line))


def pages() -> list[Path]:
    """All pages that users read."""
    found = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    return sorted([*found, *(REPOSITORY / "examples").glob("*/README.md")])


def blocks(page: Path) -> list[Block]:
    """The fences of one page."""
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        above = text[: fence.start()].rstrip("\n").rpartition("\n\n")[2]
        reason = NOT_RUN.search(above) if "```" not in above else None
        line = text.count("\n", 0, fence.start()) + 1
        inside = textwrap.dedent(fence["text"])
        found.append(Block(fence["kind"].strip(), inside, line, reason["reason"] if reason else None))
    return found


def name(page: Path) -> str:
    """Its path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


PAGES = {name(page): blocks(page) for page in pages()}
RUNNABLE = [page for page, found in PAGES.items() if any(each.script for each in found if each.kind == "sh")]


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_marked(page: str) -> None:
    """No command hides in a fence of another kind, where nothing would run it."""
    for block in PAGES[page]:
        if block.kind not in {"sh", ANSWER}:
            hidden = [line for line in block.text.splitlines() if COMMAND.match(line)]
            assert not hidden, f"{page}:{block.line} has commands in a fence of kind {block.kind!r}: {hidden}"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_only_shown_says_why(page: str) -> None:
    """A program that is no command, a piece of Python or a Dockerfile, has the reason why nothing runs it above it."""
    for block in PAGES[page]:
        if block.kind not in {"sh", *NO_PROGRAM}:
            assert block.reason, f"{page}:{block.line} shows {block.kind} and not why the tests do not run it"


@pytest.mark.parametrize("page", PAGES)
def test_python_compiles(page: str) -> None:
    """What is shown of Python is Python."""
    for block in PAGES[page]:
        if block.kind == "python":
            compile(block.text.replace("…", "..."), f"{page}:{block.line}", "exec")


@pytest.mark.parametrize("page", RUNNABLE)
def test_commands_run(page: str, docker: Callable[..., object], image: str) -> None:  # noqa: ARG001  # pages use both
    """One shell runs a page from top to bottom; it ends at the first command that fails."""
    script = "set -euo pipefail\n" + "".join(
        f"echo '--- {page}:{block.line}'\n{block.script}" for block in PAGES[page] if block.kind == "sh"
    )
    environ = {key: value for key, value in without_account().items() if not key.startswith("MAKE")}
    ended = subprocess.run(
        ("/bin/bash", "-c", script),
        check=False,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environ | {"TREERING_IMAGE": image},
    )
    remove_containers()
    assert ended.returncode == 0, ended.stdout[-6000:]


def remove_containers() -> None:
    """Remove what `docker compose` and the SDKs leave of the pages' jobs."""
    where = '{{.ID}} {{.Label "com.docker.compose.project.working_dir"}}'
    for line in run_docker("ps", "--all", "--format", where).log.splitlines():
        identity, _, folder = line.partition(" ")
        if folder and Path(folder).is_relative_to(REPOSITORY):
            run_docker("rm", "--force", identity)


def test_reasons_are_found() -> None:
    """The words that keep a command from running are read as they are meant."""
    assert NOT_RUN.search("make test   # everything (not run by the tests: it is what runs this page)")
    assert NOT_RUN.search("*Not run by the tests: needs an AWS account.*")
    assert not NOT_RUN.search("# this is not run by the tests:")
    assert any(block.reason for found in PAGES.values() for block in found)


def test_fences_in_lists_are_found(tmp_path: Path) -> None:
    """A fence that is a part of a list's entry counts as any other."""
    page = tmp_path / "page.md"
    page.write_text(
        "- Why.\n\n  Not run by the tests: a part.\n\n  ```python\n  if 1:\n      pass\n  ```\n- Next.\n"
    )
    assert blocks(page) == [Block("python", "if 1:\n    pass\n", 5, "a part.")]


def test_links_lead_somewhere() -> None:
    """Every relative link names a file that is there, and its heading, if it names one."""
    for page in pages():
        for target in re.findall(r"\]\(([^)#:\s]+)(#[^)\s]+)?\)", FENCE.sub("", page.read_text())):
            path = (page.parent / target[0]).resolve()
            assert path.exists(), f"{name(page)} links to {target[0]}"
            if target[1]:
                headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
                assert target[1][1:] in anchors, f"{name(page)} links to {''.join(target)}"
