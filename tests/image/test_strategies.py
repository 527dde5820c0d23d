"""All ways to train, through the image on one, two and four hosts: each leaves one model of plain XGBoost's."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost as xgb
from docker_engine import REPOSITORY
from image.conftest import ABALONE, run_hosts
from sklearn.datasets import load_svmlight_file

if TYPE_CHECKING:
    from pathlib import Path

    from image.conftest import Host

_ROUNDS = 10
_SCRIPT = REPOSITORY / "examples" / "script-mode" / "train.py"
_GIVEN = {"num_round": str(_ROUNDS), "max_depth": "4", "eta": "0.3"}
_BUILT_IN = _GIVEN | {"objective": "reg:squarederror"}
_WAYS = {
    "allreduce": _BUILT_IN,
    "ensemble": _BUILT_IN | {"strategy": "ensemble"},
    "parameter_server": _BUILT_IN | {"strategy": "parameter_server", "sync_rounds": "3"},
    "script": _GIVEN | {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/code"},
}


def _rmse(model: bytes) -> float:
    """Of a model on the validation rows, by plain XGBoost."""
    (file,) = (ABALONE / "validation").iterdir()
    features, label = load_svmlight_file(str(file), n_features=9, zero_based=True)
    predicted = xgb.Booster(model_file=bytearray(model)).predict(xgb.DMatrix(features))
    return float(np.sqrt(np.mean((predicted - label) ** 2)))


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("way", _WAYS)
def test_every_way_leaves_one_plain_model(
    image: str, host: Host, tmp_path: Path, way: str, hosts: int
) -> None:
    """On the first host alone; plain XGBoost finds in it what the last metric line says of all hosts."""
    names = [f"algo-{number + 1}" for number in range(hosts)]
    trees = {name: type(host)(image, tmp_path / name) for name in names}
    for name, each in trees.items():
        each.configure("resourceconfig", {"current_host": name, "hosts": names})
        each.configure("hyperparameters", _WAYS[way])
        if way == "script":
            (each.tree / "code").mkdir()
            shutil.copy(_SCRIPT, each.tree / "code")
    ended = run_hosts({name: each.tree for name, each in trees.items()}, image, tmp_path)
    left = {name: [path.name for path in (each.tree / "model").iterdir()] for name, each in trees.items()}
    assert left == {name: ["xgboost-model"] if name == "algo-1" else [] for name in names}
    model = trees["algo-1"].model.read_bytes()
    booster = xgb.Booster(model_file=bytearray(model))
    assert booster.num_boosted_rounds() == _ROUNDS
    assert len(booster.get_dump()) == _ROUNDS * (hosts if way in {"ensemble", "parameter_server"} else 1)
    assert len(ended.rounds) == _ROUNDS
    fields = dict(field.split(":") for field in ended.rounds[-1].split("\t")[1:])
    assert float(fields["validation-rmse"]) == pytest.approx(_rmse(model), abs=2e-5)
    assert _rmse(model) < 2.6  # rings; the mean alone is off by 3.3
