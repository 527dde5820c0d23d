"""`treering.dealing`: every row on exactly one rank, in parts as equal as the files allow."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering import channels, dealing
from treering.job import Channel
from treering.readers.batch import Batch, Columns, File, Span
from treering.readers.csv import CsvReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from treering.channels import Group, Names
    from treering.job import Distribution

_FOLDER = Path("/nowhere/train")


def _groups(distribution: Distribution, listings: Sequence[Names], ranks_per_host: int = 1) -> list[Group]:
    hosts = [f"algo-{number + 1}" for number in range(len(listings))]
    channel = Channel("train", distribution=distribution)
    return channels.group_ranks(channel, _FOLDER, hosts, listings, ranks_per_host)


@dataclasses.dataclass(frozen=True)
class _Records:
    """A format whose rows are records of fixed length, the last one possibly shorter."""

    length: int
    unit: ClassVar[Literal["bytes", "rows"]] = "bytes"

    def extent(self, file: File) -> int:
        return file.size

    def divisible(self, file: File) -> bool:
        return not file.name.endswith(".whole")

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
    return dealing.divide(groups, reader, dealing.run_alone, lambda _: True)


_SIZES = st.lists(st.integers(0, 400) | st.sampled_from([0, 1]), max_size=8)


@given(
    hosts=st.lists(_SIZES, min_size=1, max_size=5),
    whole=st.sets(st.integers(0, 7)),
    ranks_per_host=st.integers(1, 3),
    length=st.integers(1, 30),
    replicated=st.booleans(),
)
def test_spans_tile_every_file(
    hosts: list[list[int]], whole: set[int], ranks_per_host: int, length: int, *, replicated: bool
) -> None:
    """Any files over any ranks: all of every file, nothing twice, cut only where a row starts, if at all."""
    listings: list[Names] = [
        [
            (f"{number}-{host * (not replicated)}{'.whole' * (number in whole)}", size)
            for number, size in enumerate(sizes)
        ]
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
            assert len(own) <= 1 or not file.name.endswith(".whole")
        _assert_fair(group, spans, length)


def _assert_fair(group: Group, spans: dict[int, list[Span]], length: int) -> None:
    """Ranks have their spans in the order of files, and near-equal parts beside files that are not cut.

    Those files alone are dealt greedily: nobody has more than the others by more than one of them. The rest
    fills the gaps, so that ranks without one of them too many are level.
    """
    loads, rest = [], []
    for rank in group.ranks:
        own = [(span.file.position, span.start) for span in spans[rank]]
        assert own == sorted(own)
        sizes = [(span.file.name.endswith(".whole"), span.stop - span.start) for span in spans[rank]]
        loads.append(sum(size for is_whole, size in sizes if is_whole))
        rest.append(sum(size for is_whole, size in sizes if not is_whole))
    largest = max((file.size for file in group.files if file.name.endswith(".whole")), default=0)
    assert max(loads) - min(loads) <= largest
    for load, more in zip(loads, rest, strict=True):
        lowest = min(map(sum, zip(loads, rest, strict=True)))
        assert load + more <= max(load, lowest) + 2 * length + 2


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
        return dealing.run_alone(tasks)

    groups = _groups("ShardedByS3Key", [[("a", 100)], [("b", 100)]], 2)
    spans = dealing.divide(groups, Mine(10), shared, lambda group: 2 in group.ranks)
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
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    listing = channels.list_files(tmp_path)
    for ranks in (1, 2, 3, int(rng.integers(4, 40))):
        hosts = [f"algo-{number}" for number in range(ranks)]
        groups = channels.group_ranks(Channel("train"), tmp_path, hosts, [listing] * ranks, 1)
        reader = CsvReader()
        spans = dealing.divide(groups, reader, dealing.run_alone, lambda _: True)
        batches = [batch for rank in range(ranks) for span in spans[rank] for batch in reader.read(span)]
        np.testing.assert_array_equal(np.concatenate([batch.label for batch in batches]), np.arange(rows))
        values = np.concatenate([np.asarray(batch.features)[:, 0] for batch in batches])
        np.testing.assert_array_equal(values, np.arange(rows, dtype=np.float32) / 8)
        for span in itertools.chain.from_iterable(spans.values()):
            assert span.start == 0 or span.file.path.read_bytes()[span.start - 1] == ord(b"\n")


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


def test_files_that_cannot_be_cut_go_to_whoever_has_least() -> None:
    """The largest first; every rank gets one as long as there are enough."""
    names: Names = [("a.whole", 10), ("b.whole", 1), ("c.whole", 1), ("d.whole", 0)]
    (group,) = _groups("FullyReplicated", [names] * 3)
    a, b, c, _ = group.files
    expected = {0: [Span(a, 0, 10)], 1: [Span(b, 0, 1)], 2: [Span(c, 0, 1)]}
    assert _divide([group], _Records(1)) == expected


def test_files_that_can_be_cut_fill_the_gaps() -> None:
    """A rank with a large archive gets less of the rest, or nothing."""
    (group,) = _groups("FullyReplicated", [[("a.whole", 60), ("b", 30), ("c", 30)]] * 3)
    a, b, c = group.files
    assert _divide([group], _Records(1)) == {0: [Span(a, 0, 60)], 1: [Span(b, 0, 30)], 2: [Span(c, 0, 30)]}
    (group,) = _groups("FullyReplicated", [[("a.whole", 20), ("b", 100)]] * 2)
    a, b = group.files
    assert _divide([group], _Records(1)) == {0: [Span(a, 0, 20), Span(b, 0, 40)], 1: [Span(b, 40, 100)]}
