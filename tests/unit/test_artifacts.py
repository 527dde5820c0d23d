"""`treering.artifacts`: a file is whole or not there at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from treering import artifacts
from treering.errors import Failure, Kind, PlatformError, UserError
from treering.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

_LARGE = 2**20  # bytes: many pages, so that a part could be seen


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_nothing_else(tmp_path: Path) -> None:
    """The content is there under its name, missing folders are made, and no temporary file stays."""
    path = tmp_path / "a" / "b" / "model"
    artifacts.write(path, b"content")
    assert path.read_bytes() == b"content"
    assert _names(path.parent) == ["model"]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    """A longer old file leaves nothing behind in a shorter new one."""
    path = tmp_path / "model"
    path.write_bytes(b"x" * 100)
    artifacts.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["model"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    """While files of two contents replace each other, every look finds one of them as a whole."""
    path, done = tmp_path / "model", threading.Event()
    contents = [b"a" * _LARGE, b"b" * (_LARGE // 2)]
    artifacts.write(path, contents[0])

    def replace() -> None:
        for number in range(60):
            artifacts.write(path, contents[number % 2])
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    looks = 0
    while not done.is_set():
        assert path.read_bytes() in contents
        looks += 1
    writer.join()
    assert looks > 1


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """Killed in the middle of its work, a process leaves the old or the new content, never a part."""
    path = tmp_path / "model"
    program = (
        "import pathlib, sys; from treering import artifacts\n"
        "while True:\n"
        f"    for letter in (b'a', b'b'): artifacts.write(pathlib.Path(sys.argv[1]), letter * {_LARGE}); print(flush=True)"
    )
    for written in range(1, 6):
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(written):
                process.stdout.readline()
            process.kill()
        content = path.read_bytes()
        assert len(content) == _LARGE
        assert len(set(content)) == 1


_TWO_WRITES = """
import pathlib, resource, sys
from treering import artifacts
from treering.errors import PlatformError
path, limit = pathlib.Path(sys.argv[1], "model"), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
artifacts.write(path, b"old")
try:
    artifacts.write(path, b"x" * 4_000_000)
except PlatformError as error:
    print(error)
print(path.read_bytes().decode(), [each.name for each in path.parent.iterdir()])
"""


def test_a_limit_on_file_sizes_keeps_the_old_file(tmp_path: Path) -> None:
    """A write that the system refuses half-way is told, leaves no temporary file and spares the old one."""
    command = [sys.executable, "-c", _TWO_WRITES, str(tmp_path), "65536"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout == f"cannot write {tmp_path}/model: File too large\nold ['model']\n", done.stderr


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """The same on a disk that is really full, where this machine lets us mount one."""
    enter = [shutil.which("unshare") or "false", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=1m full {tmp_path}"
    if subprocess.run([*enter, mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    script = f'{mount}; exec "$@"'
    command = [*enter, script, "sh", sys.executable, "-c", _TWO_WRITES, str(tmp_path), "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    told = f"cannot write {tmp_path}/model: No space left on device; give the job a larger volume"
    expected = f"{told}\nold ['model']\n"
    assert done.stdout == expected, done.stderr


def test_a_folder_that_refuses_is_told(
    open_folder: Path, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """Without the right to write, the sentence names the file, and nothing is left behind."""
    folder = open_folder / "model"
    folder.mkdir()
    with refused(folder), pytest.raises(PlatformError) as raised:
        artifacts.write(folder / "xgboost-model", b"content")
    assert str(raised.value) == (
        f"cannot write {folder}/xgboost-model: Permission denied; let uid {os.getuid()} write to the folder"
    )
    assert _names(folder) == []


@pytest.mark.parametrize("obstacle", ["parent", "target"])
def test_something_else_in_the_way_is_told(tmp_path: Path, obstacle: str) -> None:
    """A file where a folder should be, or a folder where the file should be, is a PlatformError."""
    path = tmp_path / "folder" / "model"
    if obstacle == "parent":
        path.parent.write_bytes(b"a file")
    else:
        path.mkdir(parents=True)
    with pytest.raises(PlatformError, match=f"cannot write {path}: "):
        artifacts.write(path, b"content")
    assert _names(tmp_path) == ["folder"]
    assert path.parent.is_file() or _names(path.parent) == ["model"]


def test_any_error_takes_the_temporary_file_along(tmp_path: Path) -> None:
    """An exception that is no fault of the disk passes through and leaves nothing either."""
    with pytest.raises(TypeError):
        artifacts.write(tmp_path / "model", "text")  # type: ignore[arg-type]  # a mistake is the point
    assert _names(tmp_path) == []


def test_a_writable_tree_passes_and_stays_empty(tmp_path: Path) -> None:
    """The check makes missing folders, keeps what is there, and leaves nothing of its own."""
    paths = Paths(tmp_path)
    artifacts.check_writable(paths)
    assert _names(paths.model) == _names(paths.output_data) == []
    (paths.model / "older").write_bytes(b"1")
    artifacts.check_writable(paths)
    assert _names(paths.model) == ["older"]


@pytest.mark.parametrize("closed", ["model", "output/data"])
def test_an_unwritable_folder_is_named(
    open_folder: Path, refused: Callable[[Path], AbstractContextManager[None]], closed: str
) -> None:
    """Which folder, which user, why, and what to do."""
    paths = Paths(open_folder)
    artifacts.check_writable(paths)
    open_folder.chmod(0o777)
    for folder in (paths.model, paths.output_data):
        folder.chmod(0o777)
    with refused(open_folder / closed), pytest.raises(PlatformError) as raised:
        artifacts.check_writable(paths)
    expected = (
        f"cannot write to {open_folder / closed} as uid {os.getuid()} (Permission denied); mount it writable"
    )
    assert str(raised.value) == expected


_CHECK = """
import sys
from pathlib import Path
from treering import artifacts, errors, paths
try:
    artifacts.check_writable(paths.Paths(Path(sys.argv[1])))
except errors.PlatformError as error:
    print(error, sorted(path.name for path in Path(sys.argv[1], "model").iterdir()))
"""


def test_a_full_disk_is_told_before_any_work(tmp_path: Path) -> None:
    """A disk with room for empty files alone takes no model; nothing of the check is left."""
    enter = [shutil.which("unshare") or "false", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=16k full {tmp_path}"
    if subprocess.run([*enter, mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    command = [*enter, f'{mount}; exec "$@"', "sh", sys.executable, "-c", _CHECK, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    advice = "(No space left on device); give the job a larger volume []"
    assert done.stdout == f"cannot write to {tmp_path}/model as uid 0 {advice}\n", done.stderr


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    """What is mounted as a file cannot take results."""
    (tmp_path / "model").write_bytes(b"")
    with pytest.raises(PlatformError, match=f"cannot write to {tmp_path}/model "):
        artifacts.check_writable(Paths(tmp_path))


def test_the_failure_file_begins_with_the_sentence(tmp_path: Path) -> None:
    """Its first line is the headline, the details follow."""
    paths = Paths(tmp_path)
    artifacts.write_failure(paths, Failure(Kind.USER, "algo-2", "train.csv, line 3: no label", "more"))
    assert paths.failure.read_text() == "algo-2: UserError: train.csv, line 3: no label\n\nmore\n"


def test_a_failure_file_that_cannot_be_written_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure itself is what counts: nothing new is raised on its way."""
    paths = Paths(tmp_path)
    paths.failure.mkdir(parents=True)
    artifacts.write_failure(paths, Failure(Kind.USER, "algo-2", "sentence"))
    assert "the failure file could not be written" in caplog.text
    assert str(paths.failure) in caplog.text


def test_a_failure_about_a_file_with_a_strange_name_is_written(tmp_path: Path) -> None:
    """File names may be any bytes; such a name is escaped, not refused."""
    paths = Paths(tmp_path)
    name = os.fsdecode(b"train-\xff.csv")
    artifacts.write_failure(paths, Failure.of(UserError(f"{name} is no text"), "algo-1"))
    assert paths.failure.read_text() == "algo-1: UserError: train-\\udcff.csv is no text\n"


def test_signals_do_not_leave_temporary_files(tmp_path: Path) -> None:
    """An exception from a signal handler in the middle of a write cleans up as well."""
    program = (
        "import pathlib, signal, sys; from treering import artifacts\n"
        "def stop(*_): raise SystemExit(7)\n"
        "signal.signal(signal.SIGTERM, stop); print(flush=True)\n"
        f"while True: artifacts.write(pathlib.Path(sys.argv[1]), b'a' * {_LARGE})"
    )
    path = tmp_path / "model"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 7
    assert set(_names(tmp_path)) <= {"model"}
