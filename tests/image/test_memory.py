"""A container with less memory than its rows need: it trains the same model, and is not killed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from docker_engine import Ended
    from image.conftest import Host

_ROWS, _COLUMNS, _FILES = 250_000, 100, 5
_LIMIT = "300m"  # of which Python, Arrow and XGBoost take more than half before a row is read


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 150 MB of CSV, drawn anew."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("rows")
    for number in range(_FILES):
        values = random.standard_normal((_ROWS // _FILES, _COLUMNS + 1), np.float32)
        values[:, 0] = values[:, 1] + random.standard_normal(len(values)) > 0
        with (folder / f"{number}.csv").open("w") as file:
            np.savetxt(file, values, "%.3f", ",")
    return folder


def _train(host: Host, rows: Path, *options: str) -> Ended:
    """Train on the rows with these limits."""
    host.configure("inputdataconfig", {"train": {"TrainingInputMode": "File", "ContentType": "text/csv"}})
    job = {"objective": "binary:logistic", "num_round": "3", "max_depth": "4"}
    host.configure("hyperparameters", job)
    mount = f"type=bind,source={rows},target=/opt/ml/input/data/train,readonly"
    return host.run("train", options=["--mount", mount, *options])


def test_more_rows_than_memory(host: Host, rows: Path) -> None:
    """What does not fit goes to disk; without a limit it does not; both make one model."""
    free = _train(host, rows)
    assert free.code == 0, free.log
    assert "memory, expected: rows in memory" in free.log
    expected = hashlib.sha256(host.model.read_bytes()).hexdigest()
    host.model.unlink()
    tight = _train(host, rows, "--memory", _LIMIT, "--memory-swap", _LIMIT)
    assert tight.code == 0, tight.log
    assert "on disk where they have to be" in tight.log
    assert f"this container's limit is {_LIMIT[:-1]} MiB" in tight.log
    assert hashlib.sha256(host.model.read_bytes()).hexdigest() == expected


def test_far_more_rows_than_memory(host: Host, rows: Path) -> None:
    """Refused in one sentence, before the kernel would end it."""
    ended = _train(host, rows, "--memory", "170m", "--memory-swap", "170m")
    assert ended.code == 1, ended.log
    (line, *_) = host.failure.read_text().splitlines()
    assert line.startswith("algo-1: UserError: memory: a rank needs about "), line
    assert "this container's limit is 170 MiB" in line
    assert not host.model.exists()


def test_a_plan_says_where_rows_go(host: Host, rows: Path) -> None:
    """Before anything is read, with the words of the job."""
    host.configure("inputdataconfig", {"train": {"TrainingInputMode": "File", "ContentType": "text/csv"}})
    host.configure("hyperparameters", {"objective": "binary:logistic", "num_round": "3", "max_depth": "4"})
    mount = ["--mount", f"type=bind,source={rows},target=/opt/ml/input/data/train,readonly"]
    for limit, way in ((_LIMIT, "columns on disk where they have to be"), ("2g", "rows in memory")):
        ended = host.run("treering", "plan", "--json", options=[*mount, "--memory", limit])
        assert ended.code == 0, ended.log
        said = json.loads(ended.log)["memory"]
        assert said.startswith(way), said
        assert "this container's limit is " in said
