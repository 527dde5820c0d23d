"""`treering.scratch`: a folder that is there when asked for, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from treering.errors import UserError
from treering.scratch import Scratch

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_made_until_it_is_needed(tmp_path: Path) -> None:
    """A job that fits into memory needs no place to write."""
    with Scratch(str(tmp_path / "new")) as scratch:
        assert scratch.free > 0
    assert list(tmp_path.iterdir()) == []


def test_it_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Whether the work ends well or not."""
    with Scratch(str(tmp_path)) as scratch:
        (scratch.folder / "page").write_bytes(b"1")
        assert scratch.folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with contextlib.suppress(ZeroDivisionError), Scratch(str(tmp_path)) as scratch:
        (scratch.folder / "page").write_bytes(b"1")
        _ = 1 // 0
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_left_is_removed(tmp_path: Path) -> None:
    """Folders of this host's processes that are gone; those of the living, and whatever else, stay."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    host = socket.gethostname()
    names = [f"treering-{host}-{ended.pid}-abc", f"treering-{host}-{os.getppid()}-abc", "treering-x", "mine"]
    others = f"treering-{host}-of-another-{ended.pid}-abc"
    for name in (*names, others):
        (tmp_path / name).mkdir()
    with Scratch(str(tmp_path)) as scratch:
        assert scratch.folder.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], others}


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    """In one sentence that names it and the hyperparameter."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"file/below takes no files \(Not a directory\).+scratch_folder"),
        Scratch(str(tmp_path / "file" / "below")) as scratch,
    ):
        _ = scratch.folder
