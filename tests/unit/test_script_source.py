"""`treering.script.source` and `requirements`: code is laid out once a host, and what is missing is told."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from treering.errors import UserError
from treering.script import requirements, source
from treering.script.program import Program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder that ranks share."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def _pack(archive: Path, names: list[str]) -> None:
    with tarfile.open(archive, "w:gz") as files:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 1
            files.addfile(entry, io.BytesIO(b"#"))


def test_a_folder_is_used_where_it_lies(tmp_path: Path, scratch: Path) -> None:
    """It may be read-only, so nothing is written there."""
    code = tmp_path / "code"
    (code / "src").mkdir(parents=True)
    (code / "src" / "train.py").touch()
    found = source.lay_out(Program(str(code), "src/train.py"), scratch, {})
    assert found == source.Code(code)
    assert sorted(path.name for path in code.rglob("*")) == ["src", "train.py"]


def test_an_archive_is_unpacked_once(tmp_path: Path, scratch: Path) -> None:
    """Whichever rank comes first does it, and the others find it."""
    archive = tmp_path / "sourcedir.tar.gz"
    _pack(archive, ["train.py", "data/x.txt"])
    program = Program(str(archive), "train.py")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: source.lay_out(program, scratch, {}), range(4)))
    assert len(set(found)) == 1
    assert (found[0].folder / "data" / "x.txt").read_text() == "#"


def test_an_archive_stays_in_its_folder(tmp_path: Path, scratch: Path) -> None:
    """A name that leads out of it is refused."""
    archive = tmp_path / "sourcedir.tar.gz"
    _pack(archive, ["train.py", "../outside"])
    with pytest.raises(UserError, match=r"is no archive that can be unpacked: .*outside"):
        source.lay_out(Program(str(archive), "train.py"), scratch, {})
    assert not (scratch / "outside").exists()


def test_what_is_there_is_listed_where_the_script_is_not(tmp_path: Path, scratch: Path) -> None:
    """A wrong `source_dir` is seen at a glance."""
    (tmp_path / "model.py").touch()
    with pytest.raises(UserError, match=r"there is no train\.py in .*, only model\.py, scratch; name"):
        source.lay_out(Program(str(tmp_path), "train.py"), scratch, {})


def test_requirements_that_are_named_have_to_be_there(tmp_path: Path, scratch: Path) -> None:
    """SDK v3 names the file; what it does not name it does not install."""
    (tmp_path / "train.py").touch()
    with pytest.raises(UserError, match=r"there is no r\.txt in .* to install requirements from"):
        source.lay_out(Program(str(tmp_path), "train.py", requirements="r.txt", is_v3=True), scratch, {})
    (tmp_path / "requirements.txt").write_text("no such package !\n")
    assert source.lay_out(Program(str(tmp_path), "train.py", is_v3=True), scratch, {}).packages == ()
    with pytest.raises(UserError, match=r"requirements\.txt cannot be installed \(Invalid requirement"):
        source.lay_out(Program(str(tmp_path), "train.py"), scratch, {})
    with pytest.raises(UserError, match=r"requirements\.txt cannot be installed"):
        source.lay_out(
            Program(str(tmp_path), "train.py", requirements="auto", is_v3=True), scratch / "..", {}
        )


def test_what_is_there_needs_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever index is set, nothing is asked of it; the CPU wheel counts as XGBoost."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    file = tmp_path / "requirements.txt"
    file.write_text("numpy>=2\nxgboost\n# a comment\n")
    assert requirements.install(file, tmp_path / "packages") == ()


def test_without_pip_it_is_told(tmp_path: Path) -> None:
    """An image may leave it out."""
    (tmp_path / "requirements.txt").write_text("numpy\n")
    program = (
        "import sys; sys.modules['pip'] = None\nfrom pathlib import Path\n"
        "from treering.script import requirements\nfolder = Path(sys.argv[1])\n"
        "try: requirements.install(folder / 'requirements.txt', folder / 'packages')\n"
        "except Exception as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.startswith(
        "requirements.txt cannot be installed: pip is not here; without a network, "
    )
