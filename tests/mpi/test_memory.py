"""Rows that do not fit into memory: they go to disk, the model stays the same, and nothing is left behind."""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import TYPE_CHECKING

import local_jobs
import numpy as np
import pyarrow as pa
import pytest
from local_jobs import Job
from pyarrow import parquet

from treering.memory import LIMIT_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from local_jobs import Ended, Files

_ROWS = 60_000
_HYPERPARAMETERS = {
    "objective": "binary:logistic",
    "num_round": "6",
    "max_depth": "4",
    "colsample_bynode": "0.7",
    "subsample": "0.8",
}


@pytest.fixture(scope="module")
def features() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Label and 60 columns, a tenth of the values missing; drawn anew, and once for all tests."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    random = np.random.default_rng(seed)
    values = random.standard_normal((_ROWS, 61)).round(2)
    values[:, 0] = values[:, 1] + random.standard_normal(_ROWS) > 0
    values[:, 1:][random.random((_ROWS, 60)) < 0.1] = np.nan
    return values


def _csv(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Files:
    parts = np.array_split(values, 4)
    return {f"{number}.csv": _lines(part) for number, part in enumerate(parts)}


def _lines(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:
    return "".join(",".join("" if x != x else f"{x:g}" for x in row) + "\n" for row in rows.tolist())  # noqa: PLR0124  # only NaN is another than itself


def _run(folder: Path, channels: dict[str, Files], hosts: int = 1, **more: str) -> Ended:
    scratch = folder / "scratch"
    scratch.mkdir()
    job = Job(channels, _HYPERPARAMETERS | {"scratch_folder": str(scratch)} | more)
    ended = local_jobs.run(job, folder, hosts)
    assert list(scratch.iterdir()) == [], "something is left on disk"
    return ended


def _digest(ended: Ended) -> str:
    assert ended.code == 0, ended.log
    return hashlib.sha256(ended.model.read_bytes()).hexdigest()


def test_one_model_wherever_the_rows_lie(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    features: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    """In memory, bins on disk, columns on disk, on one host or two: the same bytes and the same metrics."""
    channels = {"train": _csv(features[2000:]), "validation": _csv(features[:2000])}
    for name in ("memory", "asked", "two", "columns"):
        (tmp_path / name).mkdir()
    in_memory = _run(tmp_path / "memory", channels)
    assert "memory, expected: rows in memory, about" in in_memory.log
    expected = _digest(in_memory)
    asked = _run(tmp_path / "asked", channels, external_memory="true")
    assert "memory, expected: columns and bins on disk" in asked.log
    assert (_digest(asked), asked.rounds) == (expected, in_memory.rounds)
    on_two = _run(tmp_path / "two", channels, 2, external_memory="true")
    assert (_digest(on_two), on_two.rounds) == (expected, in_memory.rounds)
    assert on_two.log.count("communication: each rank sends about ") == 1
    assert "communication: " not in in_memory.log
    columns = _columns_on_disk(tmp_path / "columns", channels, monkeypatch)
    assert (_digest(columns), columns.rounds) == (expected, in_memory.rounds)


def _columns_on_disk(folder: Path, channels: dict[str, Files], monkeypatch: pytest.MonkeyPatch) -> Ended:
    """The same job with less and less memory, until the rows that were read do not fit beside their bins."""
    for size in range(320, 180, -8):
        monkeypatch.setenv(LIMIT_VARIABLE, str(size))
        (folder / str(size)).mkdir()
        ended = _run(folder / str(size), channels)
        *_, last = [line for line in ended.log.splitlines() if " memory, " in line]
        if ": columns on disk" in last:
            return ended
    pytest.fail("no size of memory leads to that")


def test_what_fits_nowhere_ends_the_job(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    features: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    """Before a round is trained, with what is needed, what there is, and what to do."""
    monkeypatch.setenv(LIMIT_VARIABLE, "150")
    ended = _run(tmp_path, {"train": _csv(features)})
    assert ended.code != 0
    assert not ended.model.exists()
    assert ended.rounds == []
    (failure,) = ended.failures
    assert re.match(
        r"algo-1: UserError: memory: a rank needs about \d+ MiB for .+, and \d+ MiB are left for it \(this host's part "
        r"is \d+ MiB\); use an instance type with more memory, or more hosts",
        failure,
    ), failure


def test_a_row_group_that_fits_no_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is read, with what it takes, what there is and what to do; and doing that helps."""
    monkeypatch.setenv(LIMIT_VARIABLE, "330")
    rows, columns = 150_000, 130
    table = pa.table(
        {"y": np.arange(rows) % 2.0} | {f"x{n}": np.arange(rows) % (n + 3.0) for n in range(columns)}
    )
    for name, size in (("large", rows), ("small", rows // 50)):
        folder = tmp_path / name
        folder.mkdir()
        target = pa.BufferOutputStream()
        parquet.write_table(table, target, row_group_size=size)
        (folder / "scratch").mkdir()
        more = {"num_round": "1", "max_depth": "2", "scratch_folder": str(folder / "scratch")}
        job = Job({"train": {"part-0": target.getvalue().to_pybytes()}}, _HYPERPARAMETERS | more, "parquet")
        ended = local_jobs.run(job, folder)
        if name == "small":
            assert ended.code == 0, ended.log
            continue
        assert "channel train: " not in ended.log
        assert re.match(
            r"algo-1: UserError: memory: reading part-0 takes about \d+ MiB at once.+ and \d+ MiB are left for it "
            r"\(this host's part is \d+ MiB\); write it with fewer rows in each row group",
            ended.failures[0],
        ), ended.failures[0]


def test_a_file_that_unfolds_to_far_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    """It begins as others do, so nothing is foreseen; and it is not read to its end."""
    monkeypatch.setenv(LIMIT_VARIABLE, "330")
    noise = "".join(f"{a},{b}\n" for a, b in random.random((200_000, 2)).tolist())
    content = gzip.compress(noise.encode() + b"0,1\n" * 8_000_000, 1)
    ended = local_jobs.run(
        Job({"train": {"a.csv.gz": content, "b.csv": "1,2\n"}}, {"num_round": "1"}), tmp_path
    )
    assert "memory, expected: rows in memory" in ended.log
    (failure,) = ended.failures
    found = re.match(
        r"algo-1: UserError: memory: ([\d,]+) rows are more than a rank can train on, and they are not all: .+"
        r"look for a compressed file that holds more than it should",
        failure,
    )
    assert found is not None, failure
    assert int(found[1].replace(",", "")) < 4_000_000
