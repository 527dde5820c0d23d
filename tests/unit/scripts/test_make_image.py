"""The Makefile's target ``image``, with scripts in place of the real ones that write down what they are asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[3] / "Makefile"

ENGINE = """\
#!/bin/bash
[[ $1 == run ]] && exec "${@:2}"
"""
SCRIPT = """\
#!/bin/bash
echo "${0##*/} $* for $XGBOOST" >> "$CALLS"
[[ ${0##*/} != "$BROKEN" ]]
"""


class Make:
    """``make image`` in a folder that has nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(MAKEFILE, folder)
        (folder / "scripts").mkdir()
        for name, text in {"docker_engine": ENGINE, "build_image": SCRIPT, "describe_image": SCRIPT}.items():
            path = folder / "scripts" / f"{name}.sh"
            path.write_text(text)
            path.chmod(0o755)

    def __call__(self, *arguments: str, broken: str = "") -> tuple[int, list[str]]:
        """Exit code, and what the scripts were asked for."""
        calls = self.folder / "calls"
        calls.touch()
        # The tests may run below a make of their own, with an image of its own.
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MAKE", "MFLAGS", "XGBOOST", "IMAGE", "ARGS"))
        }
        ended = subprocess.run(
            ("make", "image", *arguments),  # noqa: S607  # whichever make runs the tests
            check=False,
            capture_output=True,
            cwd=self.folder,
            env=clean | {"CALLS": str(calls), "BROKEN": broken},
        )
        return ended.returncode, calls.read_text().splitlines()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The Makefile, with its scripts faked."""
    return Make(tmp_path)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_image_is_built_and_then_described(make: Make, kind: str) -> None:
    """What is in the image, and under which licences, is written beside each image that is made."""
    chosen = [] if kind == "cpu" else [f"XGBOOST={kind}"]
    assert make(*chosen) == (
        0,
        [
            f"build_image.sh treering:{kind} for {kind}",
            f"describe_image.sh treering:{kind} out/image for {kind}",
        ],
    )


def test_options_are_for_the_build(make: Make) -> None:
    """The description is of the image that was named, whatever it was built with."""
    assert make("IMAGE=mine:1", "ARGS=--platform linux/amd64") == (
        0,
        [
            "build_image.sh mine:1 --platform linux/amd64 for cpu",
            "describe_image.sh mine:1 out/image for cpu",
        ],
    )


@pytest.mark.parametrize("broken", ["build_image.sh", "describe_image.sh"])
def test_what_fails_is_told(make: Make, broken: str) -> None:
    """An image that was not built is not described, and one that could not be described is no success."""
    code, calls = make(broken=broken)
    assert code != 0
    assert calls[-1].startswith(broken)
