"""The label ranges are XGBoost's own: checked by letting XGBoost train on both sides of each limit."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import sklearn.metrics as sk
import xgboost as xgb

from treering import tasks
from treering.labels import Fault, LabelRange, find_fault, label_range

CLASSES = 3
ROWS = 60
STRAYS = [-2.0, -1.0, -0.999, -0.5, 0.0, 0.3, 1.0, 1.0001, 1.5, 2.0, 3.0, 31.0, 32.0, 1e6]
# XGBoost trains on these in silence, though the labels mean nothing.
SILENT = ("binary:hinge", "survival:aft")


def _usual(objective: str, rng: np.random.Generator) -> np.ndarray:
    """Labels that suit `objective`."""
    classes = CLASSES if objective.startswith("multi:") else 2
    label = rng.integers(0, classes, ROWS).astype(np.float32)
    return label + 1 if objective == "reg:gamma" else label


def _refused(objective: str, label: np.ndarray, **params: object) -> bool:
    """Whether XGBoost refuses to train on these labels."""
    ranking = objective.startswith("rank:")
    data = xgb.DMatrix(
        np.arange(ROWS, dtype=np.float32).reshape(-1, 1),
        label=label,
        qid=np.arange(ROWS) // 10 if ranking else None,
    )
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", label)
        data.set_float_info("label_upper_bound", label + 1)
    known: dict[str, object] = {"objective": objective, "verbosity": 0}
    known |= {"num_class": CLASSES} if objective.startswith("multi:") else {}
    known |= {"quantile_alpha": 0.5} if objective == "reg:quantileerror" else {}
    known |= {"expectile_alpha": 0.5} if objective == "reg:expectileerror" else {}
    try:
        xgb.train(known | params, data, 1, evals=[(data, "train")], verbose_eval=False)
    except xgb.core.XGBoostError:
        return True
    return False


def _fault(objective: str, label: np.ndarray, **options: object) -> Fault | None:
    metric = tasks.OBJECTIVES[objective].metric
    return find_fault(
        objective,
        CLASSES if objective.startswith("multi:") else None,
        float(label.min()),
        float(label.max()),
        all_integer=bool((label == np.round(label)).all()),
        metrics=[metric],
        **options,  # type: ignore[arg-type]  # exponential_gain is the only one
    )


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_xgboost_agrees(objective: str, stray: float) -> None:
    """One stray label is refused if and only if XGBoost refuses it, but for two objectives' silence."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")  # shown when the test fails
    rng = np.random.default_rng(seed)
    label = _usual(objective, rng)
    label[rng.integers(ROWS)] = stray
    fault = _fault(objective, label)
    if fault is None:
        assert not _refused(objective, label)
    elif objective not in SILENT:
        assert _refused(objective, label)


@pytest.mark.parametrize(
    ("objective", "stray"), [("binary:hinge", -1.0), ("binary:hinge", 2.0), ("survival:aft", -1.0)]
)
def test_silent_nonsense_is_refused(objective: str, stray: float) -> None:
    """Labels that XGBoost trains on though they mean nothing are refused here."""
    label = _usual(objective, np.random.default_rng(0))
    label[0] = stray
    assert not _refused(objective, label)
    assert _fault(objective, label) is not None


@pytest.mark.parametrize("stray", [0.3, 32.0])
def test_linear_gain(stray: float) -> None:
    """Without the exponential gain, relevances may be fractions and large, for XGBoost as for us."""
    label = _usual("rank:ndcg", np.random.default_rng(0))
    label[0] = stray
    assert _fault("rank:ndcg", label, exponential_gain=False) is None
    assert not _refused("rank:ndcg", label, ndcg_exp_gain=False)


@pytest.mark.parametrize("stray", [-1.0, -0.5, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("metric", ["ndcg", "ndcg@5-", "map", "map@3", "pre", "auc", "aucpr"])
def test_metrics_have_ranges_too(metric: str, stray: float) -> None:
    """A metric that cannot be computed on the labels is told before training, as XGBoost would after a round."""
    label = _usual("rank:pairwise", np.random.default_rng(0))
    label[0] = stray
    fault = find_fault(
        "rank:pairwise",
        None,
        float(label.min()),
        float(label.max()),
        all_integer=stray == round(stray),
        metrics=[metric],
    )
    assert (fault is not None) == _refused("rank:pairwise", label, eval_metric=metric)
    assert fault is None or fault.user == f"eval_metric {metric}"


@pytest.mark.filterwarnings("ignore")  # of classes without rows
@pytest.mark.parametrize("label", [[0.0, 1.0, 0.3], [0.0, 1.0, 2.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
@pytest.mark.parametrize("metric", sorted(tasks.CLASS_METRICS))
def test_metrics_of_classes_take_what_scikit_learn_takes(metric: str, label: list[float]) -> None:
    """Of labels that are no classes, or of several where two are meant, it makes no score either."""
    name = {"f1": "f1_macro", "precision": "precision_binary", "recall": "recall_binary"}.get(metric, metric)
    kind, _, average = name.partition("_")
    score = getattr(sk, f"{metric if 'accuracy' in metric else kind}_score")
    options = {"average": average} if average and "accuracy" not in metric else {}
    try:
        score(label, [0.0, 1.0, 1.0], **options)
        expected = None
    except ValueError:
        expected = f"eval_metric {metric}"
    whole = bool((np.array(label) == np.round(label)).all())
    fault = find_fault("reg:squarederror", None, min(label), max(label), all_integer=whole, metrics=[metric])
    assert (fault and fault.user) == expected


@pytest.mark.parametrize(
    ("objective", "classes", "low", "high", "stray", "sentence"),
    [
        ("binary:logistic", None, -1, 1, -1, "label -1 in .*: numbers from 0 to 1 .write -1 as 0.$"),
        ("binary:logistic", None, 0, 4, 4, "label 4 in .* .for more than two classes use multi:softmax or"),
        ("multi:softmax", 3, 1, 3, 3, "label 3 in .* from 0 to 2 .the classes seem to be numbered from 1"),
        ("multi:softmax", 3, 0, 7, 7, "label 7 in .*: whole numbers from 0 to 2 .num_class is 3.$"),
        (
            "multi:softmax",
            3,
            0,
            2,
            0.1,
            "label 0.1 in row 3 of a is no whole number, but objective multi:softmax",
        ),
        (
            "reg:gamma",
            None,
            0,
            9,
            0,
            "label 0 in .* is outside what objective reg:gamma takes: numbers above 0$",
        ),
        ("count:poisson", None, -3e6, 9, -3e6, "label -3000000 in .* is outside .*: numbers, 0 or more$"),
    ],
)
def test_sentences(
    objective: str, classes: int | None, low: float, high: float, stray: float, sentence: str
) -> None:
    """The sentence names the label, its place, who refuses it, what is allowed, and the usual remedy."""
    whole = stray == round(stray)
    found = find_fault(objective, classes, low, high, all_integer=whole)
    assert found is not None
    assert re.match(sentence, found.sentence(stray, "row 3 of a"))


@pytest.mark.parametrize(
    "allowed",
    [LabelRange(), LabelRange(0, 2, integer=True), LabelRange(0, above=True), LabelRange(-1, 1)],
)
def test_strays_are_what_the_extremes_tell_of(allowed: LabelRange) -> None:
    """A row is pointed at exactly if labels of its value alone would be refused."""
    label = np.array(STRAYS, np.float32)
    expected = [
        allowed.stray(each, each) is not None or (allowed.integer and each != round(each))
        for each in label.tolist()
    ]
    assert allowed.strays(label).tolist() == expected


def test_unlimited() -> None:
    """An objective without limits takes everything; multi:* has none to tell without num_class."""
    assert label_range("reg:squarederror").stray(-math.inf, math.inf) is None
    assert find_fault("reg:squarederror", None, -1e30, 1e30, all_integer=False) is None
    with pytest.raises(ValueError, match="num_class"):
        label_range("multi:softmax")
