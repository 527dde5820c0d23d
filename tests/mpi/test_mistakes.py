"""What a user can get wrong, as whole jobs: one sentence with the value, its place and what is allowed, on all hosts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import drop_in_jobs
import local_jobs
import pytest
from local_jobs import Job

if TYPE_CHECKING:
    from pathlib import Path

_ROWS = "1,2,3\n0,5,1\n" * 50
_SPARSE = "1 0:2 1:3\n0 0:5 1:1\n" * 50
_QUERIES = "1 qid:1 0:2\n0 qid:1 0:5\n1 qid:2 0:1\n0 qid:2 0:3\n" * 10


def _train(
    content: str | bytes, content_type: str | None = "text/csv", *, name: str = "bad", **more: str
) -> Job:
    return Job({"train": {f"sub/{name}": content}}, {"num_round": "3"} | more, content_type)


def _beside(content: str, validation: str, content_type: str = "text/csv", **more: str) -> Job:
    channels = {"train": {"good": content}, "validation": {"bad": validation}}
    return Job(channels, {"num_round": "3"} | more, content_type)


_MISTAKES = {
    "CSV as LIBSVM": (_train(_ROWS, None), ["sub/bad", "line ", "looks like CSV", "text/csv"]),
    "LIBSVM as CSV": (_train(_SPARSE), ["sub/bad", "line ", "text/libsvm"]),
    "CSV as Parquet": (_train(_ROWS, "parquet"), ["sub/bad", "Parquet"]),
    "Parquet as CSV": (
        Job({"train": drop_in_jobs.parquet().channels["train"]}, {"num_round": "1"}),
        ["train.parquet", "application/x-parquet"],
    ),
    "a label that is no number": (_train(_ROWS + "nan,1,2\n"), ["sub/bad", "line 101", "'nan'", "finite"]),
    "a negative weight": (
        _train("1,1,3\n0,-2,1\n", csv_weights="1"),
        ["sub/bad", "line 2", "column 2", "'-2'", "not negative"],
    ),
    "a negative weight in LIBSVM": (_train(_SPARSE + "1:-3 0:1\n", "libsvm"), ["line 101", "'-3'"]),
    "a header in the middle": (_train(_ROWS + "y,a,b\n" + _ROWS), ["sub/bad", "line 101", "column 1", "'y'"]),
    "a header in validation": (_beside(_ROWS, "y,a,b\n" + _ROWS), ["bad, line 1", "header=true"]),
    "fewer columns in validation": (_beside(_ROWS, "1,2\n" * 9), ["channel validation", "1 ", "train 2"]),
    "more columns in validation": (
        _beside(_SPARSE, "1 7:1\n", "libsvm"),
        ["channel validation", "8 ", "train 2"],
    ),
    "a qid here and there": (
        _train(_QUERIES + "1 0:3\n", "libsvm", objective="rank:ndcg"),
        ["sub/bad", "line 41", "no qid"],
    ),
    "a file without queries": (
        Job({"train": {"a": _QUERIES, "b": _SPARSE}}, {"num_round": "3", "objective": "rank:ndcg"}, "libsvm"),
        ["channel train: rows of b have no query id (qid), but others have one; give all or none"],
    ),
    "two weights in one query": (
        _train("1:2 qid:1 0:2\n0:2 qid:1 0:5\n" * 9 + "1:3 qid:1 0:2\n", "libsvm", objective="rank:ndcg"),
        [
            "channel train: row 19 of sub/bad weighs 3, but row 18 of sub/bad, of the same query, weighs 2",
            "one weight",
        ],
    ),
    "no queries": (
        _train(_ROWS, objective="rank:pairwise", eval_metric="auc,ndcg"),
        ["channel train: objective=rank:pairwise needs the query of each row", "group_column", "qid:"],
    ),
    "no queries in validation": (
        _beside(_QUERIES, _SPARSE, "libsvm", objective="rank:ndcg"),
        ["channel validation", "qid:"],
    ),
    "too few classes": (
        _train("0,1\n1,2\n2,3\n" * 9, objective="multi:softmax", num_class="2"),
        ["channel train: label 2 in row 3 of sub/bad on algo-1", "from 0 to 1", "num_class is 2"],
    ),
    "classes from 1": (
        _train("1,1\n2,2\n3,3\n" * 9, objective="multi:softmax", num_class="3"),
        ["channel train", "label 3 in row 3 of sub/bad on algo-1", "subtract 1"],
    ),
    "margins for one class of three": (
        _train("0,1,1\n1,2,2\n2,3,3\n" * 9, objective="multi:softmax", num_class="3", base_margin_column="1"),
        ["channel train: base_margin_column names 1 column(s)", "has 3 output(s); name one column for each"],
    ),
    "margins for more than there is": (
        _train("0,1,1,1\n1,2,2,2\n" * 9, base_margin_column="1,2"),
        ["channel train: base_margin_column names 2 column(s)", "has 1 output(s); name one column for each"],
    ),
    "a label between classes": (
        _beside(_SPARSE, "\n".join(["1 0:2"] * 4000 + ["0.5 0:1"]), "libsvm", eval_metric="accuracy"),
        ["channel validation: label 0.5 in row 4,001 of bad on algo-2 is no whole number", "accuracy"],
    ),
    "a metric to follow that is not a number": (
        _beside(
            _ROWS, "1,2,3\n" * 9, objective="binary:logistic", eval_metric="auc", early_stopping_rounds="2"
        ),
        ["early stopping follows validation-auc, which is not a number in round 0", "both classes"],
    ),
    "a tuned metric of rows that are not there": (
        _train(_ROWS, _tuning_objective_metric="validation:rmse"),
        ["_tuning_objective_metric=validation:rmse needs a channel validation, but this job has none"],
    ),
    "an absurd index": (
        _train(_SPARSE + "1 2000000000:1\n", "libsvm"),
        ["sub/bad, line 101", "2000000000", "is above 4,194,303"],
    ),
    "one query on two hosts": (
        _train("1 qid:7 0:2\n0 qid:7 0:5\n" * 40, "libsvm", objective="rank:ndcg"),
        [
            "have no training rows",
            "fewer queries (1) than ranks, and each stays whole on one, so use fewer hosts",
        ],
    ),
    "one file of queries for two hosts": (
        Job(
            {"train": {"a": _QUERIES}},
            {"num_round": "3", "objective": "rank:ndcg"},
            "libsvm",
            "ShardedByS3Key",
        ),
        [
            "rank(s) 1 (algo-2) have no training rows",
            "or FullyReplicated data, which is split evenly, but for queries",
        ],
    ),
    "one row on two hosts": (
        _train("1,2\n", objective="reg:absoluteerror"),
        ["rank(s) 1 (algo-2) have no training rows", "fewer rows (1) than ranks, so use fewer hosts"],
    ),
    "no num_class": (_train(_ROWS, objective="multi:softprob"), ["multi:softprob", "num_class"]),
    "a time that ends before it begins": (
        _train("3,2,1\n1,2,3\n" * 9, objective="survival:aft", label_upper_column="1"),
        ["sub/bad", "line ", "column 2", "'3'", "'2'"],
    ),
    "an unknown metric": (_train(_ROWS, eval_metric="rmse,acuracy"), ["'acuracy'", "accuracy"]),
    "a metric of another task": (_train(_ROWS, eval_metric="merror"), ["merror", "multi:softmax"]),
    "an unknown objective": (_train(_ROWS, objective="reg:square"), ["'reg:square'", "reg:squarederror"]),
    "an objective like no other": (
        _train(_ROWS, objective="zzz"),
        ["unknown objective 'zzz' (docs/hyperparameters.md lists them)"],
    ),
    "several mistakes": (
        _train(_ROWS, max_dept="3", eta="2", seed="x", foo="1"),
        [
            "4 problems",
            "Extraneous hyperparameter found: max_dept (did you mean max_depth?)",
            "Hyperparameter eta: value '2' is out of range (allowed: number from 0 to 1)",
            "Hyperparameter seed: could not parse value 'x'",
            "Extraneous hyperparameter found: foo",
        ],
    ),
    "a column that is not there": (_train(_ROWS, label_column="7"), ["sub/bad", "7", "3 columns"]),
    "constraints for other columns": (
        _train(_ROWS, monotone_constraints="(1,0,1)"),
        ["3 entries", "2 columns"],
    ),
    "linear models on two hosts": (
        _train(_ROWS, booster="gblinear"),
        ["booster=gblinear", "instance_count=1"],
    ),
    "exact trees on two hosts": (
        _train(_ROWS, updater="grow_colmaker,prune", tree_method="auto"),
        ["updater=grow_colmaker,prune", "instance_count=1"],
    ),
    "a damaged archive": (_train(b"\x1f\x8b\x08\x00damaged", name="bad.csv.gz"), ["sub/bad.csv.gz", "gzip"]),
    "UTF-16": (_train(_ROWS.encode("utf-16")), ["sub/bad", "UTF-16"]),
    "an extraneous channel": (
        Job({"train": {"a": _ROWS}, "extra": {"a": _ROWS}}, {"num_round": "1"}),
        ["Extraneous channel found: extra", "validation"],
    ),
}


@pytest.mark.parametrize("name", _MISTAKES)
def test_mistakes_are_one_sentence_that_says_where(tmp_path: Path, name: str) -> None:
    """On both hosts: exit 1, no model, the value, its place and what is allowed in what the platform shows first."""
    job, told = _MISTAKES[name]
    ended = local_jobs.run(job, tmp_path, hosts=2)
    assert ended.code == 1, ended.log
    assert len(ended.failures) == 2
    for failure in ended.failures:
        assert re.match(r"algo-[12]: UserError: ", failure)
        for words in told:
            assert words in failure
        assert len(failure) < 1024
    assert ended.failures[0] in ended.log
    for noise in ("Traceback", "Exception ignored", "Warning"):
        assert noise not in ended.log + ended.log_of("algo-2")
    assert list(ended.model.parent.iterdir()) == []
