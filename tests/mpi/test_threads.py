"""Ranks of one host share its cores: no library of any of them takes all for itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from rank_programs import program

from treering.resources import cores

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Ring

_RANKS = 2
_TELL = """\
from treering import worker

def tell(when):
    import json, numexpr, numpy, pyarrow, scipy.linalg, threadpoolctl, xgboost
    found = {pool["filepath"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    kinds = {pool["user_api"] for pool in threadpoolctl.threadpool_info()}
    found |= {"Arrow": pyarrow.cpu_count(), "numexpr": numexpr.get_num_threads()}
    if when == "after":
        found["Arrow's files"] = pyarrow.io_thread_count()
    print(when, json.dumps([sorted(kinds), found]), flush=True)

def work(*job):
    tell("before")
    worker._train(*job)
    tell("after")

worker.run_rank(work)
"""


def _job(folder: Path, **hyperparameters: str) -> Path:
    """What SageMaker would lay out for a job of one host."""
    (folder / "input" / "config").mkdir(parents=True)
    (folder / "input" / "data" / "train").mkdir(parents=True)
    (folder / "input" / "data" / "train" / "a.csv").write_text("1,2,3\n0,5,1\n" * 50)
    for name, content in {
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
        "hyperparameters": {"num_round": "2", "objective": "binary:logistic"} | hyperparameters,
        "inputdataconfig": {"train": {"ContentType": "text/csv"}},
    }.items():
        (folder / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(("given", "nthread"), [(0, "0"), (5, "-1")])
def test_the_ranks_of_a_host_share_its_cores(ring: Ring, tmp_path: Path, given: int, nthread: str) -> None:
    """XGBoost, Arrow, BLAS and numexpr: together they have no more threads than the host has cores, or was given."""
    base = _job(tmp_path / "ml", ranks_per_host=str(_RANKS), nthread=nthread)
    more = {
        "SAGEMAKER_BASE_DIR": str(base),
        "TREERING_THREADS_PER_HOST": str(given),
        "RANKS_REPORT_DONE": "1",
    }
    ring.start(1, program(_TELL), more)
    assert set(ring.wait().values()) == {0}, ring.logs()
    share = max(1, (given or cores()) // _RANKS)
    for when in ("before", "after"):  # a script of the user's own has what is there before
        told = [json.loads(text) for text in re.findall(rf"\b{when} (\[.*\])", ring.logs())]
        assert len(told) == _RANKS, ring.logs()
        for kinds, found in told:
            assert kinds == ["blas", "openmp"]
            assert found == dict.fromkeys(found, share)
    assert f"nthread={share}" in ring.logs()
