"""One case in one layout, trained by treering as a real job and by plain XGBoost on the same rows per rank."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, cast

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from benchmarks import layouts
from treering import local
from treering.artifacts import MODEL_NAME
from treering.job import Channel
from treering.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.data import Data
    from benchmarks.layouts import Case, File, Layout

ROUNDS: Final = 8
_COMMON: Final = {"num_round": str(ROUNDS), "max_depth": "5", "max_bin": "64", "eta": "0.3"}
_CONTENT_TYPES: Final = {"csv": "text/csv;header=true", "parquet": "application/x-parquet"}


class Bench:
    """One case, its data, and a folder to run it in."""

    def __init__(self, case: Case, data: Data, seed: int, folder: Path) -> None:
        self.case = case
        self.data = data
        self.folder = folder
        self._seed = seed

    @property
    def hyperparameters(self) -> dict[str, str]:
        """For treering and XGBoost alike."""
        return _COMMON | {"seed": str(self._seed % 2**31)} | self.case.hyperparameters

    def files(self, layout: Layout) -> list[File]:
        """Which rows each file has."""
        return layouts.deal(self.case, layout, self.data.label, self._seed)

    def train(self, layout: Layout) -> str:
        """The SHA-256 of treering's model in a layout; ends the program when the job fails."""
        files = self.files(layout)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            source, output = Path(folder, "data"), Path(folder, "out")
            self._write(files, layout, source)
            job = _job(layout, source, output, self.hyperparameters)
            local.prepare(job)
            if files[0].host is not None:
                _deal(job, files)
            printed = io.TextIOWrapper(io.BytesIO())
            with contextlib.redirect_stdout(printed):
                code = local.run(job)
            if code:
                printed.seek(0)
                raise SystemExit(f"{printed.read()}\nthe job failed: {self.case}, {layout}")
            return hashlib.sha256((output / "model" / MODEL_NAME).read_bytes()).hexdigest()

    def parts(self, layout: Layout) -> list[Data]:
        """The rows of each rank, cut evenly among those that share files."""
        files = self.files(layout)
        if files[0].host is None:
            rows = np.array_split(np.concatenate([file.rows for file in files]), layout.ranks)
        else:
            of_hosts = [
                np.concatenate([np.empty(0, np.int64), *(file.rows for file in files if file.host == host)])
                for host in range(layout.hosts)
            ]
            rows = [part for each in of_hosts for part in np.array_split(each, layout.ranks_per_host)]
        return [self.data.take(part) for part in rows]

    def _write(self, files: Sequence[File], layout: Layout, folder: Path) -> None:
        folder.mkdir()
        names = ["label", *(f"f{number}" for number in range(self.data.features.shape[1]))]
        columns = [column(self.data, number) for number in range(self.data.features.shape[1])]
        table = pa.table([pa.array(self.data.label), *columns], names=names)
        for file in files:
            path, rows = folder / f"{file.name}.{layout.format}", table.take(file.rows)
            if layout.format == "csv":
                csv.write_csv(rows, path, csv.WriteOptions(quoting_style="none"))
            else:
                parquet.write_table(rows, path, row_group_size=max(1, rows.num_rows // 20))


def column(data: Data, number: int) -> pa.Array:
    """A feature column as files have it: numbers, or text."""
    values = pa.array(data.features[:, number], from_pandas=True)
    if number not in data.categories:
        return values
    return pa.DictionaryArray.from_arrays(values.cast(pa.int32()), data.categories[number]).cast(pa.string())


def _job(layout: Layout, source: Path, output: Path, hyperparameters: Mapping[str, str]) -> local.LocalJob:
    shared = layout.placement == "one file for all"
    channel = Channel(
        "train", _CONTENT_TYPES[layout.format], "FullyReplicated" if shared else "ShardedByS3Key"
    )
    own = {"ranks_per_host": str(layout.ranks_per_host), "reproducible": "true"}
    threads = layout.threads * layout.ranks_per_host
    return local.LocalJob(
        layout.hosts, {"train": (channel, source)}, {**hyperparameters, **own}, output, threads
    )


def _deal(job: local.LocalJob, files: Sequence[File]) -> None:
    """Give each file to its host, where ``treering local`` has dealt them out in turn."""
    _, source = job.channels["train"]
    written = {path.stem: path.resolve() for path in source.iterdir()}
    for number, host in enumerate(job.names):
        folder = Paths(job.output / "hosts" / host).channel("train")
        for link in folder.iterdir():
            link.unlink()
        for file in files:
            if file.host == number:
                (folder / written[file.name].name).symlink_to(written[file.name])


class Stock:
    """Plain XGBoost in a program of its own, which stays for all jobs."""

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("stock.py")
        self._program = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # XGBoost warns of ranks without rows
            text=True,
        )
        self._jobs, self._answers = (
            cast("IO[str]", self._program.stdin),
            cast("IO[str]", self._program.stdout),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._program.communicate()

    def train(self, bench: Bench, layout: Layout) -> str | None:
        """The SHA-256 of XGBoost's model on the same rows per rank, or None when it failed."""
        paths = [bench.folder / f"{rank}.npz" for rank in range(layout.ranks)]
        for path, part in zip(paths, bench.parts(layout), strict=True):
            np.savez(path, features=part.features, label=part.label)
        parameters = {name: value for name, value in bench.hyperparameters.items() if name != "num_round"}
        parameters |= {"nthread": str(layout.threads), "tree_method": "hist"}
        job = {
            "parameters": parameters,
            "rounds": ROUNDS,
            "parts": list(map(str, paths)),
            "categorical": list(bench.data.categories),
        }
        self._jobs.write(json.dumps(job) + "\n")
        self._jobs.flush()
        answer = next(line for line in self._answers if line.startswith(("model: ", "failed: ")))
        return answer.strip() if answer.startswith("model: ") else None
