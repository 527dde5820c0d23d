"""`treering.checkpoint_folder`: what is written is found again, and what is damaged or foreign never is."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering.checkpoint_folder import KEPT, Checkpoint, CheckpointFolder
from treering.errors import PlatformError
from treering.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

_PLENTY = 10**6


def _checkpoint(number: int, state: bytes = b"the state\nof a booster") -> Checkpoint:
    scores = [{"train-rmse": 1 / (3 + each), "validation-auc": float("nan")} for each in range(number + 1)]
    return Checkpoint({"settings": {"eta": "0.3"}, "train": {"rows": "5"}}, scores, state)


def _model(number: int) -> bytes:
    return f"model {number}".encode()


def _filled(path: Path, *numbers: int) -> CheckpointFolder:
    folder = CheckpointFolder(path)
    folder.prepare()
    for number in numbers:
        folder.write(_checkpoint(number), _model(number))
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    """State, history to the last bit, and identity come back; the model lies there under AWS's name."""
    folder = _filled(tmp_path / "new" / "folder", 7)
    found = folder.newest(_PLENTY)
    assert found is not None
    wanted = _checkpoint(7)
    assert (found.number, found.state, found.identity) == (7, wanted.state, wanted.identity)
    assert [each["train-rmse"] for each in found.history] == [each["train-rmse"] for each in wanted.history]
    assert all(np.isnan(each["validation-auc"]) for each in found.history)
    assert folder.model(7).read_bytes() == _model(7)
    assert _names(folder.path) == ["treering-state.7", "xgboost-checkpoint.7"]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    """Nothing to go on from is no error."""
    assert _filled(tmp_path / "new").newest(_PLENTY) is None


def test_the_newest_of_as_many_rounds_as_wanted_is_found(tmp_path: Path) -> None:
    """Numbers count, not the order of names or times; one of more rounds than the job has is left out."""
    folder = _filled(tmp_path, 99, 100, 9)
    for rounds, number in ((_PLENTY, 100), (101, 100), (100, 99), (99, 9), (10, 9)):
        found = folder.newest(rounds)
        assert found is not None
        assert found.number == number
    assert folder.newest(9) is None


def test_the_newest_are_kept_and_nothing_else_is_removed(tmp_path: Path) -> None:
    """Five checkpoints stay, whatever the distance between them; files of others are not touched."""
    strangers = ["xgboost-checkpoint.0", "xgboost-checkpoint_0.ubj", "notes.txt", "treering-state.x"]
    for name in strangers:
        (tmp_path / name).write_bytes(b"somebody's")
    numbers = [2, 3, 10, 11, 30, 99, 100]
    folder = _filled(tmp_path, *numbers)
    kept = [f"{name}.{each}" for name in ("treering-state", "xgboost-checkpoint") for each in numbers[-KEPT:]]
    assert _names(folder.path) == sorted(strangers + kept)
    assert KEPT == 5


def test_damaged_later_ones_do_not_push_out_good_ones(tmp_path: Path) -> None:
    """Six torn checkpoints with higher numbers: the ones that this run writes stay all the same."""
    folder = _filled(tmp_path, *range(10, 20))
    for path in tmp_path.glob("treering-state.*"):
        path.write_bytes(b"torn")
    for number in (3, 5):
        folder.write(_checkpoint(number), _model(number))
        found = folder.newest(_PLENTY)
        assert found is not None
        assert found.number == number


@pytest.mark.parametrize(
    "damage",
    ["cut", "bit", "empty", "other format", "other round", "model cut", "model bit", "model gone", "folder"],
)
def test_a_damaged_checkpoint_is_passed_over_with_a_line(
    tmp_path: Path, random: np.random.Generator, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """Whatever happened to one of the two files, the checkpoint before is taken, and the log says so."""
    caplog.set_level(logging.INFO)
    folder = _filled(tmp_path, 4, 8)
    path = tmp_path / ("xgboost-checkpoint.8" if damage.startswith("model") else "treering-state.8")
    content = bytearray(path.read_bytes())
    match damage:
        case "cut" | "model cut":
            path.write_bytes(content[: random.integers(len(content))])
        case "bit" | "model bit":
            content[random.integers(len(content))] ^= 1 << int(random.integers(8))
            path.write_bytes(content)
        case "empty":
            path.write_bytes(b"")
        case "other format":
            path.write_bytes(content.replace(b"checkpoint-1", b"checkpoint-2", 1))
        case "other round":
            path.write_bytes((tmp_path / "treering-state.4").read_bytes())
        case "model gone":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
    found = folder.newest(_PLENTY)
    assert found is not None
    assert found.number == 4
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"skipped checkpoint 8 in {tmp_path}"
    ]


def test_a_foreign_checkpoint_is_passed_over_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What has no state beside it is never gone on from, as new as it may be; one line names all of them."""
    caplog.set_level(logging.INFO)
    for number in (20, 3):
        (tmp_path / f"xgboost-checkpoint.{number}").write_bytes(_model(number))
    folder = CheckpointFolder(tmp_path)
    assert folder.newest(_PLENTY) is None
    folder.write(_checkpoint(5), _model(5))
    found = folder.newest(_PLENTY)
    assert found is not None
    assert found.number == 5
    lines = {record.getMessage() for record in caplog.records}
    assert len(lines) == 1
    assert "xgboost-checkpoint.3, xgboost-checkpoint.20 without treering-state.3" in lines.pop()


def test_a_folder_is_made_ready(tmp_path: Path) -> None:
    """It is made, what killed jobs left half-written goes, everything else stays."""
    folder = _filled(tmp_path / "a" / "b", 1)
    for part in (".xgboost-checkpoint.2.0a1b2c3d", ".treering-state.2.99887766"):
        (folder.path / part).write_bytes(b"half")
    (folder.path / ".hidden").write_bytes(b"somebody's")
    folder.prepare()
    assert _names(folder.path) == [".hidden", "treering-state.1", "xgboost-checkpoint.1"]


def test_an_unwritable_folder_is_told_before_any_work(
    open_folder: Path, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """One sentence: which folder, why, as whom, and what to do."""
    folder = CheckpointFolder(open_folder / "checkpoints")
    folder.path.mkdir()
    with refused(folder.path), pytest.raises(PlatformError) as raised:
        folder.prepare()
    said = str(raised.value)
    assert said.startswith(
        f"no checkpoints can be kept in the LocalPath of checkpointconfig.json: cannot write {folder.path}/"
    )
    assert said.endswith(f"Permission denied; let uid {os.getuid()} write to the folder")


_FILL = """
import pathlib, resource, sys
from treering.checkpoint_folder import Checkpoint, CheckpointFolder
from treering.errors import PlatformError
folder, limit = CheckpointFolder(pathlib.Path(sys.argv[1])), int(sys.argv[2])
folder.prepare()
state = lambda number: Checkpoint({}, [{}] * (number + 1), bytes(300_000))
for number in (1, 2):
    folder.write(state(number), bytes(10))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    for number in range(3, 20):
        folder.write(state(number), bytes(10))
except PlatformError as error:
    print(error)
print(sorted(path.name for path in folder.path.iterdir()))
print(folder.newest(99).number)
if not limit:
    (folder.path / "rest").write_bytes(b"")
    try:
        with (folder.path / "rest").open("wb", buffering=0) as rest:
            while True:
                rest.write(bytes(4096))
    except OSError:
        pass
    try:
        folder.prepare()
    except PlatformError as error:
        print(error)
"""


def test_a_write_that_fails_half_way_keeps_the_others(tmp_path: Path) -> None:
    """The model fits and its state does not: the sentence names the file; earlier checkpoints are whole."""
    command = [sys.executable, "-c", _FILL, str(tmp_path), "65536"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    told, names, newest = done.stdout.splitlines()
    assert told == f"cannot write {tmp_path}/treering-state.3: File too large", done.stderr
    left = ["treering-state.1", "treering-state.2", *(f"xgboost-checkpoint.{number}" for number in (1, 2, 3))]
    assert names == str(left)
    assert newest == "2"


def test_a_full_disk_is_told_and_keeps_the_others(tmp_path: Path) -> None:
    """On a disk that is really full, where this machine lets us mount one; also when it is full at the start."""
    enter = [shutil.which("unshare") or "false", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=1m full {tmp_path}"
    if subprocess.run([*enter, mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    command = [*enter, f'{mount}; exec "$@"', "sh", sys.executable, "-c", _FILL, str(tmp_path), "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    told, _, newest, at_start = done.stdout.splitlines()
    expected = (
        f"cannot write {tmp_path}/treering-state.4: No space left on device; give the job a larger volume"
    )
    assert told == expected, done.stderr
    assert newest == "3"
    assert at_start.startswith("no checkpoints can be kept in the LocalPath of checkpointconfig.json: ")
    assert at_start.endswith("No space left on device; give the job a larger volume")


def _configured(base: Path, text: str) -> Paths:
    paths = Paths(base)
    paths.config.mkdir(parents=True)
    paths.checkpoint_config.write_text(text)
    return paths


def test_the_folder_is_the_one_that_sagemaker_names(tmp_path: Path) -> None:
    """No file, no checkpoints; LocalPath where it is given, SageMaker's default where it is not."""
    assert CheckpointFolder.of(Paths(tmp_path / "none")) is None
    given = {"LocalPath": str(tmp_path / "here"), "S3Uri": "s3://bucket/prefix"}
    named = CheckpointFolder.of(_configured(tmp_path / "a", json.dumps(given)))
    assert named is not None
    assert named.path == tmp_path / "here"
    for number, text in enumerate(("{}", '{"LocalPath": null}', '{"LocalPath": ""}')):
        default = CheckpointFolder.of(_configured(tmp_path / str(number), text))
        assert default is not None
        assert default.path == tmp_path / str(number) / "checkpoints"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"LocalPath": 3}', "null", "\x00"])
def test_a_config_file_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    """Never ignored: a job that thinks it has checkpoints must have them."""
    paths = _configured(tmp_path, text)
    with pytest.raises(PlatformError, match=f"{paths.checkpoint_config} "):
        CheckpointFolder.of(paths)
