"""`treering.script.program`: every way to name a program leads to the same answer, and no way to none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from treering.errors import PlatformError
from treering.paths import Paths
from treering.script import program
from treering.script.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """An ``/opt/ml`` with nothing in it."""
    found = Paths(tmp_path)
    found.config.mkdir(parents=True)
    return found


def _give(paths: Paths, hyperparameters: object) -> None:
    paths.hyperparameters.write_text(json.dumps(hyperparameters))


def _source_code(paths: Paths, content: object) -> None:
    folder = paths.channel("sm_drivers")
    folder.mkdir(parents=True)
    (folder / "sourcecode.json").write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize("quote", [json.dumps, str], ids=["sdk", "by hand"])
def test_sdk_v2_names_it_by_hyperparameters(paths: Paths, quote: Any) -> None:
    """With the SDK's quotes or without; a local address is a path."""
    _give(
        paths,
        {"sagemaker_program": quote("a b.py"), "sagemaker_submit_directory": quote("file:///code"), "x": "1"},
    )
    assert program.find(paths, {}) == Program("/code", "a b.py")


@pytest.mark.parametrize(
    ("hyperparameters", "environ", "expected"),
    [
        ({"sagemaker_program": "a.py"}, {}, Program("BASE/code", "a.py")),
        ({}, {"SAGEMAKER_PROGRAM": "b.py"}, Program("BASE/code", "b.py")),
        ({}, {"SAGEMAKER_PROGRAM": "b.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/b"}, Program("/b", "b.py")),
        ({"sagemaker_program": "a.py"}, {"SAGEMAKER_PROGRAM": "b.py"}, Program("BASE/code", "a.py")),
        (
            {"sagemaker_program": "a.py", "sagemaker_submit_directory": '"s3://b/k.tar.gz"'},
            {},
            Program("s3://b/k.tar.gz", "a.py"),
        ),
        ({"sagemaker_program": "null"}, {}, None),
        ({"sagemaker_submit_directory": "/a"}, {"SAGEMAKER_SUBMIT_DIRECTORY": "/b"}, None),
        ({"num_round": "3"}, {}, None),
        (["no", "object"], {}, None),
    ],
)
def test_hyperparameters_come_before_the_environment(
    paths: Paths, hyperparameters: object, environ: Mapping[str, str], expected: Program | None
) -> None:
    """And without a program there is none, whatever else is set."""
    _give(paths, hyperparameters)
    found = program.find(paths, environ)
    if expected is not None and expected.where.startswith("BASE"):
        expected = Program(expected.where.replace("BASE", str(paths.base)), expected.entry)
    assert found == expected


def test_without_hyperparameters_there_is_no_program(paths: Paths) -> None:
    """Ranks tell of a file that cannot be read; the built-in one does it."""
    assert program.find(paths, {}) is None
    paths.hyperparameters.write_text("{")
    assert program.find(paths, {}) is None


@pytest.mark.parametrize(
    ("source", "folder", "rest"),
    [
        ({"source_dir": "/home/me/code", "entry_script": "train.py"}, "code", {"entry": "train.py"}),
        (
            {"source_dir": "s3://b/x/code.tar.gz", "entry_script": "t.sh", "requirements": "r.txt"},
            "code/code.tar.gz",
            {"entry": "t.sh", "requirements": "r.txt"},
        ),
        ({"command": "python a.py", "entry_script": "b.py"}, None, {"command": "python a.py"}),
        (
            {"source_dir": "c", "command": "python a.py", "args": ["it's", 3, 0.5]},
            "code",
            {"command": """python a.py 'it'"'"'s' 3 0.5"""},
        ),
    ],
)
def test_sdk_v3_names_it_in_a_channel_of_its_own(
    paths: Paths, source: object, folder: str | None, rest: dict[str, str]
) -> None:
    """Its code is another channel; a command wins over a script."""
    _source_code(paths, source)
    where = Path.cwd() if folder is None else paths.channel(folder)
    assert program.find(paths, {}) == Program(str(where), is_v3=True, **rest)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_source_code_file_is_told(paths: Paths, content: str) -> None:
    """By its path."""
    _source_code(paths, content)
    with pytest.raises(PlatformError, match=r"sourcecode\.json "):
        program.find(paths, {})


def test_supervisors_stay_light() -> None:
    """They ask what to start, before anything heavy is loaded."""
    look = "import sys, treering.script.program; print({'pydantic', 'numpy', 'mpi4py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_importing_the_package_starts_nothing() -> None:
    """MPI starts with the first call; names that are none are told as such."""
    look = "import sys, treering; print({'numpy', 'mpi4py'} & set(sys.modules)); treering.nothing"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n"
    assert done.stderr.endswith("AttributeError: module 'treering' has no attribute 'nothing'\n")
