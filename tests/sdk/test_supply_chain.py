"""What is in the image is told beside it, and the lock serves both processors."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from docker_engine import REPOSITORY

import treering

if TYPE_CHECKING:
    from pathlib import Path

PINNED = re.compile(r"^([\w.-]+)==([^ ;\\]+)", re.MULTILINE)
# The oldest glibc that a wheel of the lock may ask for: Debian 13 and Amazon Linux 2023 have newer ones.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")


def normal(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(kind: str) -> dict[str, str]:
    """Name and version of each package in a lock file."""
    text = (REPOSITORY / f"requirements-{kind}.lock").read_text()
    return {normal(name): version for name, version in PINNED.findall(text)}


@pytest.fixture(scope="module")
def described(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that scripts/describe_image.sh wrote into."""
    folder = tmp_path_factory.mktemp("described")
    script = REPOSITORY / "scripts" / "describe_image.sh"
    made = subprocess.run((script, image, folder), check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def bill(described: Path) -> dict[str, Any]:
    """The bill of materials."""
    (path,) = described.glob("*.cdx.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_bill_of_materials(bill: dict[str, Any]) -> None:
    """The Python packages are the lock's and ours, each with its licence; Debian's are all there."""
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    python = {
        each["purl"].partition("@")[0].removeprefix("pkg:pypi/"): each
        for each in bill["components"]
        if each["purl"].startswith("pkg:pypi/")
    }
    versions = {name: each["version"] for name, each in python.items()}
    assert versions.pop("treering") == treering.__version__
    on_linux = {name: version for name, version in locked("cpu").items() if name in versions}
    assert versions == on_linux
    assert {"xgboost-cpu", "mpich", "mpi4py", "pyarrow", "numpy"} <= versions.keys()
    for name, each in python.items():
        assert each["licenses"], name
        if name != "treering":
            assert each["properties"], name
    debian = {each["name"] for each in bill["components"] if each["purl"].startswith("pkg:deb/debian/")}
    assert {"libc6", "bash", "python3.13"} <= debian


def test_notices(described: Path) -> None:
    """Each Python package that others made stands there with the text of its licence."""
    (path,) = described.glob("*.notices.txt")
    text = path.read_text()
    sections = re.split(r"^={79}\n(.*)\n={79}\n", text, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    names = {normal(title.split()[0]) for title in found}
    assert {"xgboost-cpu", "mpich", "numpy", "scipy", "debian"} <= names
    assert "treering" not in names
    for title, section in found.items():
        assert re.search("copyright|licen[cs]e|libc6", section, re.IGNORECASE), title


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_wheels_exist(kind: str, platform: str, tmp_path: Path) -> None:
    """Every locked package has a wheel with a locked hash for both processors that AWS offers."""
    uv = subprocess.run(
        (REPOSITORY / "scripts" / "uv.sh",), check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    options = (
        "--dry-run",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--python-version",
        "3.13",
    )
    resolved = subprocess.run(
        (uv.strip(), "pip", "install", *options, "--python-platform", platform, "--target", tmp_path,
         "-r", REPOSITORY / f"requirements-{kind}.lock"),
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert resolved.returncode == 0, resolved.stderr
    assert "numpy==" in resolved.stderr
