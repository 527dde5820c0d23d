"""`treering.channels`: whatever lies in the folders, every row is on exactly one rank."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from treering import channels
from treering.channels import Group
from treering.errors import PlatformError, UserError
from treering.job import Channel
from treering.readers.batch import File

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from treering.channels import Names
    from treering.job import Distribution

_FOLDER = Path("/nowhere/train")


def _lay(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# --- list_files ---


def test_files_of_any_depth_are_listed_in_order(tmp_path: Path) -> None:
    """Names are paths below the folder, sorted as text, with their sizes; empty files are files."""
    _lay(
        tmp_path,
        {"b.csv": b"12", "a/z.csv": b"1", "a/b/c/d.csv": b"123", "a.csv": b"", "10": b"1", "9": b"1"},
    )
    assert channels.list_files(tmp_path) == [
        ("10", 1),
        ("9", 1),
        ("a.csv", 0),
        ("a/b/c/d.csv", 3),
        ("a/z.csv", 1),
        ("b.csv", 2),
    ]


def test_the_time_of_the_last_write_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any age, 0 included; but a time that may be just the time of asking is none, to the mount's own precision."""
    _lay(tmp_path, {"a": b"1", "b": b"22"})
    for told, found in (
        (0, 0),
        (10**9, 10**9),
        (7 * 10**9 - 10**7 - 1, 7 * 10**9 - 10**7 - 1),
        (7 * 10**9 - 10**7 + 1, None),
        (7 * 10**9, None),
        (6 * 10**9, 6 * 10**9),
        (6 * 10**9 + 1, 6 * 10**9 + 1),
        (8 * 10**9 + 1, None),
    ):
        os.utime(tmp_path / "a", ns=(0, told))
        os.utime(tmp_path / "b", ns=(0, 5))
        with monkeypatch.context() as clock:
            clock.setattr("time.time_ns", lambda: 7 * 10**9)
            assert channels.look(tmp_path) == [("a", 1, found), ("b", 2, 5)]


def test_hidden_names_are_skipped_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files and folders that begin with . or _ are no data, with all they hold, and one line says so."""
    folder = tmp_path / "train"
    hidden = ["_SUCCESS", ".part.crc", "_temporary/0/part.csv", "a/.hidden/part.csv", "a/_metadata"]
    _lay(folder, {"a/x_1.csv": b"1", "b.c/y.csv": b"2"} | dict.fromkeys(hidden, b"not data"))
    with caplog.at_level(logging.INFO):
        assert channels.list_files(folder) == [("a/x_1.csv", 1), ("b.c/y.csv", 1)]
    (line,) = caplog.messages
    assert line == "channel train: skipped 5 hidden file(s) or folder(s): .hidden, .part.crc, _SUCCESS"


def test_nothing_hidden_is_not_worth_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder of data alone is listed in silence."""
    _lay(tmp_path, {"a.csv": b"1"})
    with caplog.at_level(logging.INFO):
        channels.list_files(tmp_path)
    assert not caplog.messages


def test_a_missing_or_empty_folder_has_no_files(tmp_path: Path) -> None:
    """A host that got nothing of a channel may not even have its folder."""
    assert channels.list_files(tmp_path) == []
    assert channels.list_files(tmp_path / "missing") == []
    assert channels.list_files(tmp_path / "missing" / "deeper") == []


def test_links_are_followed(tmp_path: Path) -> None:
    """Linked files and folders count with the name of the link and the size of what it leads to."""
    _lay(tmp_path / "elsewhere", {"data.csv": b"123", "more/data.csv": b"1234"})
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "file.csv").symlink_to(tmp_path / "elsewhere" / "data.csv")
    (folder / "folder").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "linked").symlink_to(folder)
    expected = [("file.csv", 3), ("folder/data.csv", 4)]
    assert channels.list_files(folder) == channels.list_files(tmp_path / "linked") == expected


def test_broken_and_circular_links_are_told(tmp_path: Path) -> None:
    """A link that leads nowhere is named; one that leads back never repeats rows in silence."""
    broken, circle = tmp_path / "broken", tmp_path / "circle"
    _lay(circle, {"data.csv": b"1"})
    broken.mkdir()
    (broken / "data.csv").symlink_to(tmp_path / "gone")
    (circle / "again").symlink_to(circle)
    with pytest.raises(PlatformError, match=r"cannot read .*broken/data\.csv: No such file"):
        channels.list_files(broken)
    with pytest.raises(PlatformError, match="circle/again"):
        channels.list_files(circle)


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    """A channel is a folder."""
    _lay(tmp_path, {"train": b"1"})
    with pytest.raises(PlatformError, match=r"cannot list .*train: Not a directory"):
        channels.list_files(tmp_path / "train")


@pytest.mark.parametrize(
    ("closed", "named"),
    [("data", "data/train"), ("data/train", "data/train"), ("data/train/a", "data/train/a")],
)
def test_a_folder_that_cannot_be_looked_at_is_told(
    open_folder: Path, refused: Callable[[Path], AbstractContextManager[None]], closed: str, named: str
) -> None:
    """No right to list is not the same as no files, at whatever depth."""
    folder = open_folder / "data" / "train"
    _lay(folder, {"a/b/data.csv": b"1"})
    with refused(open_folder / closed), pytest.raises(PlatformError) as raised:
        channels.list_files(folder)
    assert str(raised.value) == f"cannot list {open_folder / named}: Permission denied"


def test_special_files_are_told(tmp_path: Path) -> None:
    """A FIFO in a channel's folder is no data file: whoever opens it would wait for ever."""
    os.mkfifo(tmp_path / "train_0")
    with pytest.raises(PlatformError, match="train_0 is no regular file"):
        channels.list_files(tmp_path)


# --- group_ranks ---


def _groups(distribution: Distribution, listings: Sequence[Names], ranks_per_host: int = 1) -> list[Group]:
    hosts = [f"algo-{number + 1}" for number in range(len(listings))]
    channel = Channel("train", distribution=distribution)
    return channels.group_ranks(channel, _FOLDER, hosts, listings, ranks_per_host)


def _file(name: str, position: int, size: int) -> File:
    return File(_FOLDER / name, name, position, size)


def test_replicated_hosts_share_their_files() -> None:
    """All ranks of all hosts form one group over one list."""
    names: Names = [("a", 1), ("b", 2)]
    expected = [Group((0, 1, 2, 3), (_file("a", 0, 1), _file("b", 1, 2)))]
    assert _groups("FullyReplicated", [names, names], 2) == expected


def test_times_are_known_of_this_hosts_copies_alone() -> None:
    """Hosts with the same files agree whatever their times are, which are no part of what a file is."""
    names: Names = [("a", 1), ("b", 2)]
    [group] = channels.group_ranks(Channel("train"), _FOLDER, ["x", "y"], [names, names], 1, {"b": 7})
    assert [file.modified for file in group.files] == [None, 7]
    assert group.files == (_file("a", 0, 1), _file("b", 1, 2))


def test_a_host_without_files_of_a_replicated_channel_reads_nothing() -> None:
    """A channel that some instance groups do not get is split among those that do."""
    names: Names = [("a", 1)]
    assert _groups("FullyReplicated", [[], names, [], names]) == [Group((1, 3), (_file("a", 0, 1),))]
    assert _groups("FullyReplicated", [[], names], 2) == [Group((2, 3), (_file("a", 0, 1),))]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ([("a", 1)], "algo-1 has 2 file(s) and algo-3 1: b (2 bytes) is only on algo-1"),
        ([("a", 1), ("b", 2), ("c", 3)], "algo-1 has 2 file(s) and algo-3 3: c (3 bytes) is only on algo-3"),
        ([("a", 1), ("b", 3)], "b (2 bytes) is only on algo-1"),
        ([("a", 1), ("c", 2)], "b (2 bytes) is only on algo-1"),
    ],
)
def test_replicated_hosts_that_differ_are_told(other: Names, told: str) -> None:
    """A missing, further or differing file is named, with the two hosts."""
    names: Names = [("a", 1), ("b", 2)]
    for listings in ([names, names, other], [names, [], other], [names, other]):
        with pytest.raises(PlatformError) as raised:
            _groups("FullyReplicated", listings)
        assert "channel train is FullyReplicated" in str(raised.value)
        assert told.replace("algo-3", f"algo-{len(listings)}") in str(raised.value)


def test_sharded_hosts_keep_their_files() -> None:
    """Each host is a group of its own; positions are those in the sorted list of all hosts' files."""
    groups = _groups("ShardedByS3Key", [[("b", 1), ("d", 2)], [], [("a", 3), ("c", 4)]], 2)
    assert groups == [
        Group((0, 1), (_file("b", 1, 1), _file("d", 3, 2))),
        Group((4, 5), (_file("a", 0, 3), _file("c", 2, 4))),
    ]


def test_equal_names_on_sharded_hosts_are_different_files() -> None:
    """Should two hosts hold files of one name, their rows still have different identities."""
    groups = _groups("ShardedByS3Key", [[("a", 1), ("b", 1)], [("a", 1)]])
    assert groups == [
        Group((0,), (_file("a", 0, 1), _file("b", 2, 1))),
        Group((1,), (_file("a", 1, 1),)),
    ]


@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_a_channel_without_any_file_is_told(distribution: Distribution) -> None:
    """No host with a file means no group, which is the user's to mend."""
    groups = _groups(distribution, [[], []])
    assert groups == []
    with pytest.raises(UserError, match=r"channel train has no data files in /nowhere/train on any host"):
        channels.require_files("train", _FOLDER, groups)
    channels.require_files("train", _FOLDER, _groups(distribution, [[], [("a", 0)]]))


# --- repeated ---


def test_the_same_files_on_sharded_hosts_are_told() -> None:
    """Equal names and sizes are most likely equal files, of which each row would be read twice."""
    hosts = ["algo-1", "algo-2", "algo-3"]
    listings: list[Names] = [[("a", 1), ("b", 2), ("c", 0)], [("b", 3), ("c", 0)], [("a", 1), ("d", 4)]]
    told = channels.repeated(Channel("train", distribution="ShardedByS3Key"), hosts, listings)
    assert told is not None
    assert told.startswith("channel train is ShardedByS3Key, but 1 file(s) lie on several hosts")
    assert "(a on algo-1, algo-3)" in told


@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_files_that_are_as_they_should_be_are_not_told(distribution: Distribution) -> None:
    """Other names, sizes, or no bytes at all on sharded hosts; the same files on replicated ones."""
    listings: list[Names] = [[("a", 1), ("c", 0)], [("a", 2), ("c", 0)]]
    if distribution == "FullyReplicated":
        listings = [listings[0]] * 2
    assert channels.repeated(Channel("train", distribution=distribution), ["x", "y"], listings) is None
