"""AWS's public example jobs for its XGBoost image, through this image, on one host and on two."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import drop_in_jobs
import numpy as np
import pytest
import xgboost as xgb
from drop_in_jobs import scores
from image.conftest import run_hosts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker_engine import Ended
    from local_jobs import Job

_EXAMPLES: dict[str, tuple[Callable[[np.random.Generator], Job], str]] = {
    "abalone": (lambda _: drop_in_jobs.abalone(), "rmse"),
    "parquet": (lambda _: drop_in_jobs.parquet(), "rmse"),
    "direct-marketing": (drop_in_jobs.direct_marketing, "logloss"),
    "tuning": (drop_in_jobs.tuning, "auc"),
    "digits": (lambda _: drop_in_jobs.digits(), "mlogloss"),
    "ranking": (drop_in_jobs.ranking, "ndcg@5"),
}


def _lay_out(job: Job, tree: Path, hosts: list[str], index: int) -> None:
    """The ``/opt/ml`` of one host as the platform leaves it, the files of a sharded channel dealt out."""
    config = tree / "input" / "config"
    for folder in (config, tree / "model", tree / "output" / "data"):
        folder.mkdir(parents=True)
    job.write(tree / "input" / "data")
    if job.distribution == "ShardedByS3Key":
        for channel in job.channels:
            files = sorted(path for path in (tree / "input/data" / channel).rglob("*") if path.is_file())
            for number, path in enumerate(files):
                if number % len(hosts) != index:
                    path.unlink()
    resources = {"current_host": hosts[index], "hosts": hosts, "network_interface_name": "eth0"}
    described = {
        "TrainingInputMode": "FastFile" if job.content_type == "csv" else "File",
        "S3DistributionType": job.distribution,
        "RecordWrapperType": "None",
        "ContentType": job.content_type,
    }
    for name, content in {
        "resourceconfig": resources,
        "inputdataconfig": dict.fromkeys(job.channels, described),
        "hyperparameters": dict(job.hyperparameters),
    }.items():
        (config / f"{name}.json").write_text(json.dumps(content))


def _train(image: str, job: Job, folder: Path, hosts: int) -> Ended:
    """One container a host, each with its own tree below `folder`."""
    names = [f"algo-{number + 1}" for number in range(hosts)]
    for index, name in enumerate(names):
        _lay_out(job, folder / name, names, index)
    return run_hosts({name: folder / name for name in names}, image, folder)


@pytest.mark.parametrize("name", _EXAMPLES)
def test_public_examples_run_unchanged(image: str, tmp_path: Path, name: str) -> None:
    """Same input, log lines that the platform reads, and on both numbers of hosts the same model."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    make, metric = _EXAMPLES[name]
    job = make(np.random.default_rng(seed))
    models, rounds = [], int(job.hyperparameters["num_round"])
    for hosts in (1, 2):
        folder = tmp_path / str(hosts)
        ended = _train(image, job, folder, hosts)
        assert "Train matrix has " in ended.log
        assert "Validation matrix has " in ended.log
        for channel in ("train", "validation"):
            assert len(scores(ended.log, channel, metric)) == rounds
        left = [list((folder / f"algo-{number + 1}" / "model").iterdir()) for number in range(hosts)]
        assert [[path.name for path in of_host] for of_host in left] == [["xgboost-model"], []][:hosts]
        assert not list(folder.glob("algo-*/output/failure"))
        models.append(left[0][0].read_bytes())
        assert xgb.Booster(model_file=bytearray(models[-1])).num_boosted_rounds() == rounds
    if (
        name != "ranking"
    ):  # XGBoost itself computes its gradients, on each host, and adds them up in any order
        assert models[0] == models[1]
