"""`treering.shard` over real ranks: every row once, the same kinds of values everywhere, and who is told what."""

from __future__ import annotations

import functools
import gzip
import io
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treering import categories, channels, queries, shard
from treering.errors import UserError
from treering.job import Channel
from treering.progress import Progress
from treering.readers.formats import reader_for
from treering.readers.roles import Roles
from treering.shard import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from treering.job import Distribution
    from treering.readers.batch import Reader
    from treering.shard import Shard
    from treering.world import World


@pytest.fixture
def rng(world: World) -> np.random.Generator:
    """The same random numbers on all ranks, other ones in every run; the seed is printed."""
    seed = world.broadcast(int(np.random.SeedSequence().generate_state(1)[0]))
    print(f"seed={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def root(world: World) -> Iterator[Path]:
    """A folder that all ranks see; a test begins with nothing in it."""
    made = Path(world.broadcast(tempfile.mkdtemp() if world.rank == 0 else ""))
    yield made
    world.barrier()
    if world.rank == 0:
        shutil.rmtree(made)


def _load(
    world: World,
    folder: Path,
    content_type: str | None,
    distribution: Distribution = "FullyReplicated",
    roles: Roles | None = None,
    progress: Progress | None = None,
) -> Shard:
    """Each rank is a host of its own."""
    hosts = tuple(f"algo-{rank + 1}" for rank in range(world.size))
    make = functools.partial(reader_for, content_type, roles=roles or Roles())
    place = Place(hosts, hosts[world.rank], 1)
    return shard.load(
        world, place, Channel("train", content_type, distribution), folder, make, None, progress
    )


def _lay(world: World, folder: Path, files: dict[str, bytes]) -> Path:
    """Write files where all ranks see them."""
    if world.rank == 0:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    world.barrier()
    return folder


def _own(world: World, root: Path, files: list[dict[str, bytes]]) -> Path:
    """Write files of which each rank sees its own; ranks beyond the list see none."""
    folder = root / f"host-{world.rank}"
    folder.mkdir(parents=True)
    for name, data in files[world.rank].items() if world.rank < len(files) else ():
        (folder / name).write_bytes(data)
    return folder


def test_every_row_is_read_once_from_all_kinds_of_files(
    world: World, rng: np.random.Generator, root: Path
) -> None:
    """Plain and compressed, with and without a telling name, empty ones among them: labels number all rows."""
    files: dict[str, bytes] = {}
    row = 0
    for number, ending in enumerate(["csv", "csv.gz", "csv.gz", "csv", "csv.zst", "", "csv.gz", ""]):
        count = int(rng.integers(0, 300))
        text = "".join(f"{row + i},{i},{number}\n" for i in range(count)).encode()
        row += count
        name = f"deep/{number}.{ending}" if ending else f"deep/{number}"
        files[name] = gzip.compress(text) if ending.endswith("gz") or number == 5 else text
    files["zero.csv"] = b""
    loaded = _load(world, _lay(world, root, files), "text/csv")
    assert loaded.total_rows == row
    everybody = np.concatenate(world.allgather_arrays(loaded.label))
    np.testing.assert_array_equal(np.sort(everybody), np.arange(row))
    # a row's identity is its file and its number there, which the features say as well
    file, number_in_file = loaded.pieces.expand()
    np.testing.assert_array_equal(loaded.features.stacked(), np.column_stack([number_in_file, file]))


def _parquet(rows: int) -> bytes:
    target = io.BytesIO()
    table = pa.table({"label": np.arange(rows, dtype=np.float32), "f": np.ones(rows, np.float32)})
    pq.write_table(table, target, row_group_size=7)
    return target.getvalue()


_FILES: dict[str, Callable[[int], bytes]] = {
    "csv": lambda rows: b"1,2\n" * rows,
    "csv;header=true": lambda rows: b"label,feature\n" + b"1,2\n" * rows,
    "csv.gz": lambda rows: gzip.compress(b"1,2\n" * rows),
    "csv.zst": lambda rows: pa.compress(b"1,2\n" * rows, "zstd", asbytes=True),
    "libsvm": lambda rows: b"1 0:2\n" * rows,
    "parquet": _parquet,
}
"""Of each kind, a file of so many rows."""
_KINDS = pytest.mark.parametrize("kind", _FILES)


@_KINDS
@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_files_without_a_byte_have_no_rows(
    world: World, rng: np.random.Generator, root: Path, kind: str, distribution: Distribution
) -> None:
    """Whatever the format and wherever they stand, a host that has no other files included."""
    suffix, content_type = kind.partition(";")[0], kind.partition(".")[0]
    rows = [int(count) for count in rng.integers(1, 99, 3)]
    empty = {f"{number}.{suffix}": b"" for number in range(0, 8, 2)}
    full = {f"{1 + 2 * number}.{suffix}": _FILES[kind](count) for number, count in enumerate(rows)}
    if distribution == "FullyReplicated":
        folder = _lay(world, root, empty | full)
    else:
        folder = _own(world, root, [empty | full] + [empty] * (world.size - 1))
    loaded = _load(world, folder, content_type, distribution)
    assert loaded.total_rows == sum(rows)
    assert loaded.columns.count == 1
    without = _own(world, root / "without", [empty] * world.size)
    with pytest.raises(UserError, match="channel train has files but no rows; check that they are not empty"):
        _load(world, without, content_type, distribution)


def test_too_many_categories_of_all_hosts_are_told(
    world: World, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each host may have few enough; the sentence has the channel and the column's name."""
    target = io.BytesIO()
    texts = [f"{world.rank}-{number}" for number in range(6 // world.size)]
    pq.write_table(pa.table({"y": [0.0] * len(texts), "kind": texts}), target)
    folder = _own(world, root, [{f"{world.rank}": target.getvalue()}] * world.size)
    assert len(_load(world, folder, "parquet", "ShardedByS3Key").categories[0]) == 6
    monkeypatch.setattr(categories, "MOST", 5)
    with pytest.raises(
        UserError, match=r"^channel train, column 'kind', all hosts together: there are more than"
    ):
        _load(world, folder, "parquet", "ShardedByS3Key")


def test_files_are_listed_once(world: World, root: Path) -> None:
    """What was found before memory was planned is what is read: a file that comes later is not."""
    folder = _own(world, root, [{f"{rank}.csv": b"1,2\n"} for rank in range(world.size)])
    hosts = tuple(f"algo-{rank + 1}" for rank in range(world.size))
    place = Place(hosts, hosts[world.rank], 1, found={"train": channels.look(folder)})
    (folder / f"late-{world.rank}.csv").write_bytes(b"3,4\n")
    channel, make = Channel("train", "csv", "ShardedByS3Key"), functools.partial(reader_for, "csv")
    assert shard.load(world, place, channel, folder, make).label.tolist() == [1]


def test_copies_of_any_age_are_the_same_files(world: World, rng: np.random.Generator, root: Path) -> None:
    """Each host was given its own copies at its own time; that is no reason not to share them."""
    files = {f"{number}.csv": b"1,2\n" * int(rng.integers(1, 999)) for number in range(5)}
    folder = _own(world, root, [files] * world.size)
    for number, name in enumerate(files):
        os.utime(folder / name, ns=(0, 10**9 * (world.rank + number)))
    assert _load(world, folder, "csv").total_rows == sum(text.count(b"\n") for text in files.values())


def test_a_file_that_is_written_again_behind_the_listing_is_told(world: World, root: Path) -> None:
    """Between the hosts' agreement on the files and their first look into them, with the same size."""
    folder = _own(world, root, [{f"{rank}.csv": b"1,2\n"} for rank in range(world.size)])
    name = f"{world.rank}.csv"

    def written_again(files: Sequence[str]) -> Reader:
        (folder / name).write_bytes(b"3,4\n")
        os.utime(folder / name, ns=(0, 2))
        return reader_for("csv", files)

    os.utime(folder / name, ns=(0, 1))
    hosts = tuple(f"algo-{rank + 1}" for rank in range(world.size))
    channel = Channel("train", "csv", "ShardedByS3Key")
    with pytest.raises(UserError, match=rf"^{name} changed while .+ written again with as many bytes"):
        shard.load(world, Place(hosts, hosts[world.rank], 1), channel, folder, written_again)


def test_archives_are_dealt_by_size(world: World, rng: np.random.Generator, root: Path) -> None:
    """As many compressed files as ranks, whatever their sizes: each rank has one."""
    files = {}
    for number in range(world.size):
        rows = rng.integers(0, 9**9, int(rng.integers(1, 9999))).tolist()
        files[f"{number}.csv.gz"] = gzip.compress("".join(f"{row},1\n" for row in rows).encode())
    assert len(_load(world, _lay(world, root, files), "text/csv").pieces) == 1


def test_what_one_rank_has_all_have(world: World, root: Path) -> None:
    """A rank without rows has empty arrays of the same kinds and widths as the others, weights of LIBSVM as well."""
    roles = Roles(label=0, label_upper=1, weight=2, group=3, base_margin="4,5")
    loaded = _load(
        world, _lay(world, root, {"a.csv.gz": gzip.compress(b"1,inf,2,q,3,4,5\n")}), "csv", roles=roles
    )
    rows = 1 if loaded.rows else 0
    assert sum(world.allgather(loaded.rows)) == 1
    for values in (loaded.label, loaded.label_upper, loaded.weight, loaded.group):
        assert values is not None
        assert values.shape == (rows,)
    assert loaded.base_margin is not None
    assert loaded.base_margin.shape == (rows, 2)
    assert loaded.features.shape == (rows, 1)
    assert queries.gather(world, loaded, "train").rows == rows


def test_what_no_rank_has_is_none(world: World, root: Path) -> None:
    """Without roles there is a label alone."""
    loaded = _load(world, _lay(world, root, {"a.csv": b"1,2\n3,4\n5,6\n"}), "csv")
    assert (loaded.weight, loaded.group, loaded.label_upper, loaded.base_margin) == (None,) * 4


def test_libsvm_is_as_wide_as_its_widest_row_anywhere(world: World, root: Path) -> None:
    """All ranks have the same number of columns, and weight 1 where only others give one."""
    own = [{f"{rank}": f"1 {rank}:1\n".encode()} for rank in range(world.size)]
    own[-1] = {"last": b"2:5 9:1\n"}
    loaded = _load(world, _own(world, root, own), "libsvm", "ShardedByS3Key")
    assert loaded.features.shape == (1, 10)
    assert loaded.columns.count == 10
    assert loaded.weight is not None
    assert loaded.weight.tolist() == [5 if world.rank == world.size - 1 else 1]


@pytest.mark.parametrize("last", [0, 1])
def test_indices_from_one_are_told_once(
    world: World, root: Path, caplog: pytest.LogCaptureFixture, last: int
) -> None:
    """One line on rank 0 when no row of any rank has index 0; none when a single one has."""
    own = [{f"{rank}": b"1 1:1 2:2\n"} for rank in range(world.size)]
    own[-1] = {"last": f"1 {last}:1 2:2\n".encode()}
    with caplog.at_level(logging.INFO):
        _load(world, _own(world, root, own), "libsvm", "ShardedByS3Key")
    told = [message for message in caplog.messages if "no row has an index 0" in message]
    assert len(told) == (last == 1 and world.rank == 0)


def test_the_same_file_on_two_sharded_hosts_is_told(
    world: World, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning on rank 0; the rows are read as they are given."""
    loaded = _load(world, _own(world, root, [{"a.csv": b"1,2\n"}] * world.size), "csv", "ShardedByS3Key")
    assert loaded.total_rows == world.size
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (world.size > 1 and world.rank == 0)
    assert all("a.csv on algo-1, algo-2" in warning for warning in warnings)


def test_files_alone_are_no_rows(world: World, root: Path) -> None:
    """Every rank says so, in the same words."""
    folder = _lay(world, root, {"a.csv": b"", "b.csv.gz": gzip.compress(b"\n"), "c.csv": b"\n\n"})
    with pytest.raises(UserError, match=r"^channel train has files but no rows"):
        _load(world, folder, "csv")


class _Told(Progress):
    """Keeps what it is told: phases with their totals, then bytes with their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[tuple[str, int | None, str]] = []
        self.told: list[tuple[int, int]] = []

    def phase(self, name: str, total: int | None = None, unit: str = "", *, done: int = 0) -> None:
        self.phases.append((name, total, unit))
        super().phase(name, total, unit, done=done)

    def advance(self, done: int, *, rows: int = 0) -> None:
        self.told.append((done, rows))


@_KINDS
def test_progress_grows_with_the_bytes(world: World, rng: np.random.Generator, root: Path, kind: str) -> None:
    """Each batch is told with its rows, up to all bytes of this rank; those of all ranks are the files'."""
    sizes = [*rng.integers(1, 50, 8), 40_000]  # the last one is no small file, as text
    suffix = kind.partition(";")[0]
    files = {f"{number}.{suffix}": _FILES[kind](int(rows)) for number, rows in enumerate(sizes)}
    progress = _Told()
    loaded = _load(world, _lay(world, root, files), kind.partition(".")[0], progress=progress)
    [(name, total, unit)] = progress.phases
    assert (name, unit) == ("loading train", "bytes")
    assert progress.told == sorted(progress.told)
    assert progress.told[-1] == (total, loaded.rows)
    everything = world.allreduce(np.array([total], np.int64))
    assert int(everything[0]) == sum(map(len, files.values()))


def test_queries_scattered_over_hosts_become_whole(
    world: World, rng: np.random.Generator, root: Path
) -> None:
    """From files on several hosts to ranks with whole queries, and the rows still know who they are."""
    group = rng.integers(0, 20, 200)
    own = [
        {
            f"{rank}.csv": "".join(
                f"{i},q{group[i]},{i}\n" for i in range(200) if i % world.size == rank
            ).encode()
        }
        for rank in range(world.size)
    ]
    loaded = _load(world, _own(world, root, own), "csv", "ShardedByS3Key", roles=Roles(group=1))
    whole = queries.gather(world, loaded, "train")
    rows = whole.label.astype(np.int64)
    assert sorted(np.concatenate(world.allgather_arrays(rows)).tolist()) == list(range(200))
    mine = sorted({int(value) for value in group[rows]})
    assert len(rows) == int(np.isin(group, mine).sum())
    assert queries.sizes(group[rows]).size == len(mine)
    file, number = whole.pieces.expand()
    np.testing.assert_array_equal(number * world.size + file, rows)
