"""Whole jobs in the place of AWS's XGBoost image: the same input and output, and right where that one is wrong.

What is asserted of logs is what the platform reads of them. `docs/from-aws-image.md` names these tests.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

import drop_in_jobs
import local_jobs
import numpy as np
import pytest
import xgboost as xgb
from drop_in_jobs import csv, libsvm, metric_names, scores
from local_jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def _table(random: np.random.Generator, rows: int, family: str = "regression") -> NDArray[Any]:
    """Rows with the label in front and four features, of which two matter."""
    features = random.standard_normal((rows, 4)).round(4)
    value = features[:, 0] - 2 * features[:, 1] + random.standard_normal(rows)
    labels = {
        "regression": value,
        "binary": value > 0,
        "classes": np.digitize(value, [-1, 1]),
        "positive": np.exp(value / 4).round(4),
    }
    return np.column_stack([labels[family], features])


def _one_file(table: NDArray[Any], **hyperparameters: str) -> Job:
    """A job that trains on a table and validates on its first hundred rows."""
    channels = {"train": {"a.csv": csv(table)}, "validation": {"v.csv": csv(table[:100])}}
    return Job(channels, {"num_round": "4"} | hyperparameters)


# --- the public examples ---

_EXAMPLES: dict[str, tuple[Callable[[np.random.Generator], Job], str, float, str]] = {
    # job, metric, its value at the end, size of the training matrix
    "abalone": (lambda _: drop_in_jobs.abalone(), "rmse", 2.4, "2922 rows and 9 columns"),
    "parquet": (lambda _: drop_in_jobs.parquet(), "rmse", 2.6, "2922 rows and 8 columns"),
    "direct marketing": (drop_in_jobs.direct_marketing, "logloss", 0.3, "1700 rows and 59 columns"),
    "tuning": (drop_in_jobs.tuning, "auc", 0.8, "1700 rows and 59 columns"),
    "digits": (lambda _: drop_in_jobs.digits(), "mlogloss", 0.9, "1300 rows and 64 columns"),
    "ranking": (drop_in_jobs.ranking, "ndcg@5", 0.7, r"\d+ rows and 12 columns"),
}


@pytest.mark.parametrize("name", _EXAMPLES)
def test_public_examples_run_unchanged(tmp_path: Path, random: np.random.Generator, name: str) -> None:
    """On one host and on two: a published metric for every round, sizes, one model, and it has learnt."""
    make, metric, value, size = _EXAMPLES[name]
    job = make(random)
    trained = [local_jobs.run(job, tmp_path, hosts) for hosts in (1, 2)]
    for ended in trained:
        assert ended.code == 0, ended.log
        assert re.search(rf"Train matrix has {size}$", ended.log, re.MULTILINE)
        assert re.search(r"Validation matrix has \d+ rows$", ended.log, re.MULTILINE)
        assert [path.name for path in ended.model.parent.iterdir()] == ["xgboost-model"]
        for channel in ("train", "validation"):
            found = scores(ended.log, channel, metric)
            assert len(found) == len(ended.rounds) == int(job.hyperparameters["num_round"])
            assert found[-1] > value if metric in {"auc", "ndcg@5"} else found[-1] < value
    if name != "ranking":  # which XGBoost itself computes on each host, and adds up
        assert trained[0].rounds == trained[1].rounds


# --- metrics and log lines ---

_METRICS = {
    # objective: what it is scored by, and the labels that suit it
    "reg:squarederror": ("positive", "rmse,mse,mae,mape,mphe,r2,rmsle"),
    "count:poisson": ("positive", "poisson-nloglik,rmse"),
    "reg:gamma": ("positive", "gamma-deviance,gamma-nloglik"),
    "reg:tweedie": ("positive", "tweedie-nloglik"),
    "binary:logistic": (
        "binary",
        (
            "accuracy,auc,aucpr,balanced_accuracy,error,error@0.3,f1,f1_binary,f1_macro,logloss,precision,"
            "precision_macro,precision_micro,recall,recall_macro,recall_micro"
        ),
    ),
    "multi:softprob": (
        "classes",
        (
            "accuracy,balanced_accuracy,f1,f1_macro,merror,mlogloss,precision,precision_macro,precision_micro,recall,"
            "recall_macro,recall_micro"
        ),
    ),
    "rank:ndcg": ("binary", "ndcg,ndcg@3,map,map@2"),
    "survival:aft": ("positive", "aft-nloglik,interval-regression-accuracy"),
    "survival:cox": ("positive", "cox-nloglik"),
}
_CONTRACT = (
    "accuracy,auc,aucpr,balanced_accuracy,f1,f1_binary,f1_macro,map,ndcg,precision,precision_macro,precision_micro,r2,"
    "recall,recall_macro,recall_micro,aft-nloglik,cox-nloglik,error,gamma-deviance,gamma-nloglik,"
    "interval-regression-accuracy,logloss,mae,mape,merror,mlogloss,mphe,mse,poisson-nloglik,rmse,rmsle,tweedie-nloglik"
)


def test_no_metric_of_the_contract_is_left_out() -> None:
    """The jobs below ask for every name that AWS's image takes."""
    asked = {name.partition("@")[0] for _, names in _METRICS.values() for name in names.split(",")}
    assert asked == set(_CONTRACT.split(","))


@pytest.mark.parametrize("objective", _METRICS)
def test_every_metric_is_logged_in_the_order_asked_for(
    tmp_path: Path, random: np.random.Generator, objective: str
) -> None:
    """In any order and spacing of the list: one line a round, by one host, and a published metric for each name."""
    family, listed = _METRICS[objective]
    names = [str(name) for name in random.permutation(listed.split(","))]
    spaces = random.choice(["", " ", "  "], (len(names), 2))
    text = ",".join(f"{before}{name}{after}" for name, (before, after) in zip(names, spaces, strict=True))
    table, needs = _table(random, 200, family), {"objective": objective, "eval_metric": text}
    if objective == "multi:softprob":
        needs["num_class"] = "3"
    job = _one_file(table, **needs)
    if objective == "rank:ndcg":
        rows = libsvm(table[:, 0], table[:, 1:], (np.arange(200) // 8).tolist())
        job = Job({"train": {"a": rows}, "validation": {"v": rows}}, job.hyperparameters, None)
    ended = local_jobs.run(job, tmp_path, hosts=1 if objective == "survival:cox" else 2)
    assert ended.code == 0, ended.log
    assert len(ended.rounds) == 4
    wanted = [f"{channel}-{name}" for channel in ("train", "validation") for name in names]
    assert [metric_names(line) for line in ended.rounds] == [wanted] * 4
    for channel in ("train", "validation"):
        for name in names:
            assert np.isfinite(scores(ended.log, channel, re.escape(name))).all()
    for host in ("algo-2",) if objective != "survival:cox" else ():
        assert "#011train-" not in ended.log_of(host).replace("\t", "#011")


def test_a_metric_without_an_objective_scores_regression(tmp_path: Path, random: np.random.Generator) -> None:
    """The default objective counts, as if it had been given."""
    ended = local_jobs.run(_one_file(_table(random, 200), eval_metric="mae"), tmp_path)
    assert ended.code == 0, ended.log
    assert len(scores(ended.log, "validation", "mae")) == 4
    told = local_jobs.run(_one_file(_table(random, 200), eval_metric="auc"), tmp_path)
    assert told.code == 1
    assert "eval_metric auc cannot score objective reg:squarederror: it needs classes" in told.failures[0]


def test_early_stopping_follows_the_tuned_metric_upwards(tmp_path: Path, random: np.random.Generator) -> None:
    """The larger `ndcg@3` is the better; the model ends with its best round, whatever else is computed."""
    table = _table(random, 400, "binary")
    queries = (np.arange(400) // 10).tolist()
    noise = random.permutation(table[:, 0])
    channels = {
        "train": {"a": libsvm(table[:, 0], table[:, 1:], queries)},
        "validation": {"v": libsvm(noise, table[:, 1:], queries)},
    }
    own = {"objective": "rank:ndcg", "num_round": "200", "early_stopping_rounds": "3", "eval_metric": "map"}
    job = Job(channels, own | {"_tuning_objective_metric": "validation:ndcg@3"}, "libsvm")
    ended = local_jobs.run(job, tmp_path, hosts=2)
    assert ended.code == 0, ended.log
    found = scores(ended.log, "validation", "ndcg@3")
    best = int(np.argmax(found))
    assert len(found) == best + 1 + 3
    assert ended.booster.num_boosted_rounds() == best + 1
    assert metric_names(ended.rounds[0])[-2:] == ["validation-map", "validation-ndcg@3"]


def test_ranking_metrics_without_queries_see_one(tmp_path: Path, random: np.random.Generator) -> None:
    """As in XGBoost on one host; one log line a channel says so, and two hosts find the same."""
    table = _table(random, 300, "binary")
    job = _one_file(table, objective="binary:logistic", eval_metric="ndcg,map@5,pre@9")
    alone, both = (local_jobs.run(job, tmp_path / str(hosts), hosts) for hosts in (1, 2))
    assert both.code == 0, both.log
    assert alone.rounds == both.rounds
    for channel in ("train", "validation"):
        line = f"channel {channel}: its rows name no query, so all of them are one to map, ndcg, pre"
        assert both.log.count(line) == 1
    margin = both.booster.predict(xgb.DMatrix(table[:, 1:]), output_margin=True)
    first = np.lexsort((table[:, 0], -margin))[:9]  # where margins are equal, the less relevant first
    assert scores(both.log, "train", "pre@9")[-1] == pytest.approx(table[first, 0].mean(), abs=1e-5)


def test_early_stopping_without_validation_rows_is_told(tmp_path: Path, random: np.random.Generator) -> None:
    """As in AWS's image the training rows are followed, but one line says so; with validation rows none does."""
    table = _table(random, 200)
    stopping = {"num_round": "3", "early_stopping_rounds": "2"}
    line = "early stopping follows train-rmse, as there is no validation channel"
    told = local_jobs.run(Job({"train": {"a.csv": csv(table)}}, stopping), tmp_path / "without", hosts=2)
    assert told.code == 0, told.log
    assert told.log.count(line) == 1
    assert line not in told.log_of("algo-2")
    plain = local_jobs.run(_one_file(table, **stopping), tmp_path / "with")
    assert plain.code == 0, plain.log
    assert "early stopping follows" not in plain.log


# --- rows ---


def test_a_host_without_validation_files_keeps_its_training_rows(
    tmp_path: Path, random: np.random.Generator
) -> None:
    """With one validation file for two hosts, all rows are trained on and all are scored."""
    table = _table(random, 300)
    channels = {
        "train": {"a.csv": csv(table[:150]), "b.csv": csv(table[150:])},
        "validation": {"v.csv": csv(table[:50])},
    }
    job = Job(channels, {"num_round": "4"}, distribution="ShardedByS3Key")
    alone, both = (local_jobs.run(job, tmp_path / str(hosts), hosts) for hosts in (1, 2))
    assert both.code == 0, both.log
    assert "Train matrix has 300 rows and 4 columns" in both.log
    assert "Validation matrix has 50 rows" in both.log
    assert both.rounds == alone.rounds
    assert both.model.read_bytes() == alone.model.read_bytes()


def test_folders_of_any_depth_count_beside_files(tmp_path: Path, random: np.random.Generator) -> None:
    """Deep folders hide none of their siblings, and hidden names are no data."""
    parts = np.split(_table(random, 300), 6)
    files = {"/".join([*"abcde"[:depth], f"part-{depth}.csv"]): csv(part) for depth, part in enumerate(parts)}
    hidden: dict[str, str | bytes] = {
        "_SUCCESS": "",
        ".part-0.csv.crc": b"\x00\xff",
        "_temporary/0/part": "1,2",
        ".git/x": "no data",
    }
    ended = local_jobs.run(Job({"train": files | hidden}, {"num_round": "2"}), tmp_path, hosts=2)
    assert ended.code == 0, ended.log
    assert "Train matrix has 300 rows and 4 columns" in ended.log
    assert "channel train: skipped 4 hidden file(s) or folder(s)" in ended.log


def test_replicated_rows_are_trained_on_once(tmp_path: Path, random: np.random.Generator) -> None:
    """Two hosts that see the same files make the model of one host, and count each row once."""
    job = _one_file(_table(random, 250))
    alone, both = (local_jobs.run(job, tmp_path / str(hosts), hosts) for hosts in (1, 2))
    assert both.code == 0, both.log
    assert "Train matrix has 250 rows and 4 columns" in both.log
    told = re.search(r"channel train: 250 rows of 4 features \(algo-1 (\d+), algo-2 (\d+)\)", both.log)
    assert told is not None, both.log
    first, second = map(int, told.groups())
    assert first + second == 250
    assert abs(first - second) < 25  # parts are of equal bytes
    assert both.model.read_bytes() == alone.model.read_bytes()


def test_the_same_job_makes_the_same_model_each_time(tmp_path: Path, random: np.random.Generator) -> None:
    """Five runs, rows and columns drawn at random, files that a directory lists in any order: one model."""
    parts = np.array_split(_table(random, 400), 9)
    files = {f"{random.integers(1 << 60):x}.csv": csv(part) for part in parts}
    drawn = {"num_round": "6", "subsample": "0.6", "colsample_bytree": "0.5"}
    models = set()
    for hosts in (1, 2, 1, 2, 1):
        ended = local_jobs.run(Job({"train": files}, drawn), tmp_path, hosts)
        assert ended.code == 0, ended.log
        models.add(ended.model.read_bytes())
    assert len(models) == 1


def test_channels_may_differ_in_format_and_distribution(tmp_path: Path, random: np.random.Generator) -> None:
    """CSV sharded by host beside LIBSVM for everybody, content types in any case and with parameters."""
    table = _table(random, 300)
    columns = table[:, 1:]
    channels = {
        "train": {"a.csv": csv(table[:100]), "b.csv": csv(table[100:])},
        "validation": {"v": libsvm(table[:80, 0], columns[:80])},
    }
    job = Job(
        channels,
        {"num_round": "3"},
        {"train": "TEXT/CSV; label_size=1", "validation": "Text/X-LibSVM"},
        {"train": "ShardedByS3Key", "validation": "FullyReplicated"},
    )
    ended = local_jobs.run(job, tmp_path, hosts=2)
    assert ended.code == 0, ended.log
    error = ended.booster.inplace_predict(columns[:80].astype(np.float32)) - table[:80, 0]
    assert scores(ended.log, "validation", "rmse")[-1] == pytest.approx(np.sqrt(np.mean(error**2)), abs=2e-5)


@pytest.mark.parametrize(
    "kind",
    [
        "csv",
        "libsvm",
    ],
)
def test_training_goes_on_from_the_model_of_another_job(
    tmp_path: Path, random: np.random.Generator, kind: str
) -> None:
    """The channel `model` takes what a job left, and the rounds are added to it, on any number of hosts."""
    table = _table(random, 300)
    rows = csv(table) if kind == "csv" else libsvm(table[:, 0], table[:, 1:])
    first = local_jobs.run(Job({"train": {"a": rows}}, {"num_round": "4"}, kind), tmp_path / "first")
    assert first.code == 0, first.log
    model: Mapping[str, str | bytes] = {"xgboost-model": first.model.read_bytes()}
    job = Job({"train": {"a": rows}, "model": model}, {"num_round": "3"}, {"train": kind})
    models = set()
    for hosts in (1, 2):
        ended = local_jobs.run(job, tmp_path / str(hosts), hosts)
        assert ended.code == 0, ended.log
        assert ended.booster.num_boosted_rounds() == 4 + 3
        assert bytes(ended.booster[:4].save_raw()) == bytes(first.booster.save_raw())
        assert scores(ended.log, "train", "rmse")[0] < scores(first.log, "train", "rmse")[-1]
        models.add(ended.model.read_bytes())
    assert len(models) == 1


# --- the end of a job ---


@pytest.mark.parametrize("kept", ["true", "false"])
def test_a_stopped_job_keeps_its_model_when_asked_to(
    tmp_path: Path, random: np.random.Generator, kept: str
) -> None:
    """SIGTERM in the middle: the rounds so far and exit 0, or no model, exit 1 and the reason."""
    job = _one_file(_table(random, 3000), num_round="1000000", save_model_on_termination=kept)
    process = local_jobs.start(job, tmp_path, hosts=2)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("[3]\t"):
            break
    process.send_signal(signal.SIGTERM)
    ended = local_jobs.wait(process, tmp_path, seen)
    assert ended.code == (0 if kept == "true" else 1), ended.log
    assert sorted(path.name for path in ended.model.parent.iterdir()) == ["xgboost-model"] * (kept == "true")
    if kept == "true":
        assert ended.booster.num_boosted_rounds() == len(ended.rounds) >= 4
        assert not ended.failures
    else:
        assert len(ended.failures) == 2
        for failure in ended.failures:
            assert re.match(r"algo-\d: the job was stopped: algo-\d received SIGTERM", failure)


def test_legacy_hyperparameters_are_told_and_change_nothing(
    tmp_path: Path, random: np.random.Generator
) -> None:
    """Each has one log line, and the model is that without them."""
    legacy = {
        "predictor": "cpu_predictor",
        "dsplit": "row",
        "sketch_eps": "0.03",
        "deterministic_histogram": "true",
        "prob_buffer_row": "2",
        "use_dask_gpu_training": "false",
    }
    table = _table(random, 100)
    with_them = local_jobs.run(_one_file(table, **legacy), tmp_path / "with", hosts=2)
    assert with_them.code == 0, with_them.log
    for name in legacy:
        assert with_them.log.count(f"Hyperparameter {name} has no effect: ") == 1
    without = local_jobs.run(_one_file(table), tmp_path / "without")
    assert without.model.read_bytes() == with_them.model.read_bytes()


def test_trees_are_dropped_out_with_dart_only(tmp_path: Path, random: np.random.Generator) -> None:
    """AWS's tuning example gives `rate_drop` alone: one log line, and the model without it."""
    table = _table(random, 300)
    dropout = {"rate_drop": "0.5", "one_drop": "1", "skip_drop": "0.1"}
    plain = local_jobs.run(_one_file(table), tmp_path / "plain")
    given = local_jobs.run(_one_file(table, **dropout), tmp_path / "given", hosts=2)
    dart = local_jobs.run(_one_file(table, booster="dart", **dropout), tmp_path / "dart", hosts=2)
    assert [ended.code for ended in (plain, given, dart)] == [0, 0, 0], given.log
    assert given.log.count("No trees are dropped out: rate_drop, skip_drop, one_drop has an effect") == 1
    assert given.model.read_bytes() == plain.model.read_bytes()
    assert dart.model.read_bytes() != plain.model.read_bytes()
    assert "No trees are dropped out" not in dart.log
    assert "deprecated" not in dart.log + dart.log_of(
        "algo-2"
    )  # XGBoost's advice is to leave out the booster


@pytest.mark.parametrize(
    "asked",
    [
        {"device": "cuda"},
        {"tree_method": "gpu_hist"},
        {"updater": "grow_gpu_hist"},
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    tmp_path: Path, random: np.random.Generator, asked: Mapping[str, str]
) -> None:
    """Who asks for a GPU never trains on the CPU in silence."""
    if xgb.build_info()["USE_CUDA"]:
        pytest.skip("this XGBoost could use a GPU")
    ended = local_jobs.run(_one_file(_table(random, 50), **asked), tmp_path)
    assert ended.code == 1, ended.log
    assert "UserError: " in ended.failures[0]
    assert "use the GPU image" in ended.failures[0]
