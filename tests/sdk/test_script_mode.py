"""A user's own script by both SDKs, in local mode: in the ring, whatever it uses of it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from docker_engine import REPOSITORY
from sdk.conftest import ABALONE
from sklearn.datasets import load_svmlight_file

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
import argparse, os, pickle
from sklearn.datasets import load_svmlight_file
from sklearn.ensemble import HistGradientBoostingRegressor
parser = argparse.ArgumentParser()
parser.add_argument("--max_depth", type=int)
parser.add_argument("--eta", type=float)
options = parser.parse_args()
file = os.path.join(os.environ["SM_CHANNEL_TRAINING"], "abalone.train_0")
features, label = load_svmlight_file(file, n_features=9, zero_based=True)
model = HistGradientBoostingRegressor(max_depth=options.max_depth, learning_rate=options.eta)
model.fit(features.toarray(), label)
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pickle"), "wb") as file:
    pickle.dump((os.environ["SM_CURRENT_HOST"], model), file)
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


def test_plain_scikit_learn(client: Client, with_scikit_learn: str, tmp_path: Path) -> None:
    """Every host runs it, in an image that has what it needs, and the first one's file is the result."""
    client.image = with_scikit_learn
    (tmp_path / "train.py").write_text(PLAIN)
    ended = client.run(2, CHANNELS, {"max_depth": 5, "eta": 0.2}, code=tmp_path)
    assert ended.code == 0, ended.log
    assert list(ended.results) == ["model.pickle"]
    host, model = pickle.loads(ended.results["model.pickle"])  # noqa: S301  # this test's own script wrote it
    assert host.startswith("algo-1")
    assert (model.max_depth, model.learning_rate) == (5, 0.2)
    features, label = load_svmlight_file(
        str(CHANNELS["training"] / "abalone.train_0"), n_features=9, zero_based=True
    )
    assert model.score(features.toarray(), label) > 0.5
    assert ended.log.count("wrote model.pickle as well: only what rank 0 writes is kept") == 1


def test_exception(client: Client, tmp_path: Path) -> None:
    """The call raises, and what the user sees has the host, the file and the line."""
    text = "import treering\nif treering.world().rank == 1:\n    raise ValueError('broken')\ntreering.allreduce(1)\n"
    (tmp_path / "train.py").write_text(text)
    ended = client.run(2, CHANNELS, {}, code=tmp_path)
    assert ended.code == 1
    assert "train.py, line 3: ValueError: broken" in ended.log
    assert sorted(ended.exits.values()) == ["1", "1"], ended.log
