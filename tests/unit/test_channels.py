"""`treering.channels`: whatever lies in the folders, every row is on exactly one rank."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering import channels
from treering.channels import Group
from treering.errors import PlatformError, UserError
from treering.job import Channel
from treering.readers.batch import Batch, Columns, File, Span
from treering.readers.csv import CsvReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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


# --- divide ---


@dataclasses.dataclass(frozen=True)
class _Records:
    """A format whose rows are records of fixed length, the last one possibly shorter."""

    length: int
    unit: ClassVar[Literal["bytes", "rows"]] = "bytes"

    def extent(self, file: File) -> int:
        return file.size

    def columns(self, file: File) -> Columns:
        return Columns(file.size and 1)

    def categories(self) -> dict[int, tuple[str, ...]]:
        return {}

    def survey(self, file: File, start: int, stop: int) -> int:
        assert 0 <= start < stop < file.size
        return stop - start

    def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:
        assert targets == list(itertools.accumulate(surveys))
        return [min(file.size, -(-target // self.length) * self.length) for target in targets]

    def read(self, span: Span) -> Iterator[Batch]:
        starts = np.arange(span.start, span.stop, self.length)
        yield Batch(np.empty((len(starts), 0), np.float32), starts.astype(np.float32))


def _divide(groups: list[Group], reader: _Records) -> dict[int, list[Span]]:
    return channels.divide(groups, reader, channels.run_alone, lambda _: True)


_SIZES = st.lists(st.integers(0, 400) | st.sampled_from([0, 1]), max_size=8)


@given(
    hosts=st.lists(_SIZES, min_size=1, max_size=5),
    ranks_per_host=st.integers(1, 3),
    length=st.integers(1, 30),
    replicated=st.booleans(),
)
def test_spans_tile_every_file(
    hosts: list[list[int]], ranks_per_host: int, length: int, *, replicated: bool
) -> None:
    """Any files over any ranks: all of every file, nothing twice, cut only where a row starts."""
    listings: list[Names] = [
        [(f"{number}-{host * (not replicated)}", size) for number, size in enumerate(sizes)]
        for host, sizes in enumerate([hosts[0]] * len(hosts) if replicated else hosts)
    ]
    groups = _groups("FullyReplicated" if replicated else "ShardedByS3Key", listings, ranks_per_host)
    spans = _divide(groups, _Records(length))
    assert sorted(spans) == sorted(rank for group in groups for rank in group.ranks)
    for group in groups:
        parts = sorted(
            (span.file.position, span.start, span.stop) for rank in group.ranks for span in spans[rank]
        )
        for file in group.files:
            own = [part[1:] for part in parts if part[0] == file.position]
            edges = [0, *(stop for _, stop in own)]
            assert own == list(itertools.pairwise(edges))
            assert edges[-1] == file.size
            assert all(start < stop and start % length == 0 for start, stop in own)
        _assert_fair(group, spans, length)


def _assert_fair(group: Group, spans: dict[int, list[Span]], length: int) -> None:
    """Ranks have their spans in the order of files, follow each other, and have near-equal parts."""
    ideal = sum(file.size for file in group.files) / len(group.ranks)
    places = []
    for rank in group.ranks:
        own = [(span.file.position, span.start) for span in spans[rank]]
        places += own
        assert abs(sum(span.stop - span.start for span in spans[rank]) - ideal) < length + 1
    assert places == sorted(places)


def test_rows_of_one_large_file_are_split_evenly() -> None:
    """One file on three hosts is cut inside, at thirds."""
    (group,) = _groups("FullyReplicated", [[("a", 300)]] * 3)
    file = group.files[0]
    assert _divide([group], _Records(10)) == {
        0: [Span(file, 0, 100)],
        1: [Span(file, 100, 200)],
        2: [Span(file, 200, 300)],
    }


def test_more_ranks_than_rows_leave_some_empty() -> None:
    """A rank may get nothing, but it is told so: its list is empty, not missing."""
    (group,) = _groups("FullyReplicated", [[("a", 4)]] * 5)
    spans = _divide([group], _Records(2))
    assert sorted(spans) == [0, 1, 2, 3, 4]
    assert sum(map(len, spans.values())) == 2


def test_files_without_bytes_give_no_spans() -> None:
    """Empty files are no obstacle, alone or among others."""
    (group,) = _groups("FullyReplicated", [[("a", 0), ("b", 0)]] * 2)
    assert _divide([group], _Records(3)) == {0: [], 1: []}
    (group,) = _groups("FullyReplicated", [[("a", 0), ("b", 6), ("c", 0)]] * 2)
    file = group.files[1]
    assert _divide([group], _Records(3)) == {0: [Span(file, 0, 3)], 1: [Span(file, 3, 6)]}


def test_only_ones_own_files_are_cut() -> None:
    """Work on a file is offered to the ranks that have it, and boundaries of others' files are not sought."""

    class Mine(_Records):
        def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:
            assert file.name == "b"
            return super().boundaries(file, targets, surveys)

    offered: set[tuple[int, ...]] = set()

    def shared(tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
        offered.update(ranks for ranks, _ in tasks)
        return channels.run_alone(tasks)

    groups = _groups("ShardedByS3Key", [[("a", 100)], [("b", 100)]], 2)
    spans = channels.divide(groups, Mine(10), shared, lambda group: 2 in group.ranks)
    assert offered == {(0, 1), (2, 3)}
    assert sorted(spans) == [2, 3]


def test_text_with_newlines_in_quotes_is_cut_between_rows(tmp_path: Path) -> None:
    """Every row of random CSV files is read exactly once, however many ranks read them."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 400))
    files = np.sort(rng.integers(0, 6, rows))
    texts = dict.fromkeys((f"part-{number}.csv" for number in range(6)), b"")
    for row, number in enumerate(files):
        cell = f'"\n{row / 8}\n"' if rng.random() < 0.3 else str(row / 8)
        end = "\r\n" if rng.random() < 0.2 else "\n"
        texts[f"part-{number}.csv"] += f"{row},{cell},1{end}".encode()
    _lay(tmp_path, texts)
    listing = channels.list_files(tmp_path)
    for ranks in (1, 2, 3, int(rng.integers(4, 40))):
        hosts = [f"algo-{number}" for number in range(ranks)]
        groups = channels.group_ranks(Channel("train"), tmp_path, hosts, [listing] * ranks, 1)
        reader = CsvReader()
        spans = channels.divide(groups, reader, channels.run_alone, lambda _: True)
        batches = [batch for rank in range(ranks) for span in spans[rank] for batch in reader.read(span)]
        np.testing.assert_array_equal(np.concatenate([batch.label for batch in batches]), np.arange(rows))
        values = np.concatenate([np.asarray(batch.features)[:, 0] for batch in batches])
        np.testing.assert_array_equal(values, np.arange(rows, dtype=np.float32) / 8)
        for span in itertools.chain.from_iterable(spans.values()):
            assert span.start == 0 or span.file.path.read_bytes()[span.start - 1] == ord(b"\n")


def test_special_files_are_told(tmp_path: Path) -> None:
    """A FIFO in a channel's folder is no data file: whoever opens it would wait for ever."""
    os.mkfifo(tmp_path / "train_0")
    with pytest.raises(PlatformError, match="train_0 is no regular file"):
        channels.list_files(tmp_path)


@pytest.mark.parametrize("places", [[7, 3], [3], [3, 99], [-1, 5]])
def test_places_that_do_not_tile_a_file_are_refused(places: list[int]) -> None:
    """A reader that is wrong about its boundaries must not lose or double a row in silence."""

    class Wrong(_Records):
        def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:
            del file, targets, surveys
            return places

    groups = _groups("FullyReplicated", [[("a", 9)]] * 3)
    with pytest.raises(RuntimeError, match="do not tile"):
        _divide(groups, Wrong(1))
