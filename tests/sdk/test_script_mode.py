"""A user's own script by both SDKs, in local mode: in the ring, whatever it uses of it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from docker_engine import REPOSITORY
from sdk.conftest import ABALONE

if TYPE_CHECKING:
    from pathlib import Path

    from sdk.conftest import Client

EXAMPLE = REPOSITORY / "examples" / "script-mode"
CHANNELS = {"training": ABALONE / "train"}
MPI4PY = """\
from mpi4py import MPI
print("sum of ranks:", MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.Get_rank()), flush=True)
"""
PLAIN = """\
import argparse, os, pathlib, pickle
import numpy as np
parser = argparse.ArgumentParser()
parser.add_argument("--max_depth", type=int)
parser.add_argument("--eta", type=float)
options = parser.parse_args()
lines = pathlib.Path(os.environ["SM_CHANNEL_TRAINING"], "abalone.train_0").read_text().splitlines()
mean = np.mean([float(line.split()[0]) for line in lines])
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pickle"), "wb") as file:
    pickle.dump((os.environ["SM_CURRENT_HOST"], float(mean), options.max_depth, options.eta), file)
"""


@pytest.mark.parametrize("hosts", [1, 4])
def test_example(client: Client, hosts: int) -> None:
    """The estimator of the README: an entry point, hosts, two hyperparameters, one channel."""
    ended = client.run(hosts, CHANNELS, {"max_depth": 5, "eta": 0.2}, code=EXAMPLE)
    assert ended.code == 0, ended.log
    assert list(ended.exits.values()) == ["0"] * hosts, ended.log
    assert ended.log.count("[49]\ttrain-rmse:") == 1
    assert ended.model
    built_in = {
        "max_depth": 5,
        "eta": 0.2,
        "num_round": 50,
        "objective": "reg:squarederror",
        "eval_metric": "rmse,mae",
    }
    assert client.run(1, CHANNELS, built_in).model == ended.model


def test_mpi4py_by_itself(client: Client, tmp_path: Path) -> None:
    """A script that knows nothing of ours is in the ring all the same."""
    (tmp_path / "train.py").write_text(MPI4PY)
    ended = client.run(3, CHANNELS, {}, code=tmp_path)
    assert ended.code == 0, ended.log
    assert ended.log.count("sum of ranks: 3") == 3


def test_plain_script(client: Client, tmp_path: Path) -> None:
    """Every host runs it, and the first one's file is the result."""
    (tmp_path / "train.py").write_text(PLAIN)
    ended = client.run(2, CHANNELS, {"max_depth": 5, "eta": 0.2}, code=tmp_path)
    assert ended.code == 0, ended.log
    assert list(ended.results) == ["model.pickle"]
    host, mean, depth, eta = pickle.loads(ended.results["model.pickle"])  # noqa: S301  # this test's own script wrote it
    assert host.startswith("algo-1")
    assert 5 < mean < 15
    assert (depth, eta) == (5, 0.2)
    assert ended.log.count("wrote model.pickle as well: only what rank 0 writes is kept") == 1


def test_exception(client: Client, tmp_path: Path) -> None:
    """The call raises, and what the user sees has the host, the file and the line."""
    text = "import treering\nif treering.world().rank == 1:\n    raise ValueError('broken')\ntreering.allreduce(1)\n"
    (tmp_path / "train.py").write_text(text)
    ended = client.run(2, CHANNELS, {}, code=tmp_path)
    assert ended.code == 1
    assert "train.py, line 3: ValueError: broken" in ended.log
    assert sorted(ended.exits.values()) == ["1", "1"], ended.log
