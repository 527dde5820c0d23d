"""What is scored in tests of metrics: rows of the whole data, what XGBoost says of them, and ways to deal them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost as xgb

from treering import tasks
from treering.metrics import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Case:
    """Rows of the whole data, the margins of a model, and what it was trained for."""

    objective: str
    margin: Floats
    rows: Rows
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def take(self, which: NDArray[Any]) -> Case:
        """Some of the rows."""
        rows = self.rows
        taken = Rows(
            rows.label[which],
            None if rows.weight is None else rows.weight[which],
            None if rows.group is None else rows.group[which],
            None if rows.label_upper is None else rows.label_upper[which],
        )
        return dataclasses.replace(self, margin=self.margin[which], rows=taken)

    def xgboost(self, *metrics: str) -> list[float]:
        """What XGBoost says on all rows."""
        rows = self.rows
        weight, lengths = rows.weight, None
        if rows.group is not None:
            starts = np.flatnonzero(np.diff(rows.group, prepend=rows.group[0] - 1))
            lengths = np.diff(np.append(starts, rows.group.size))
            weight = None if weight is None else weight[starts]
        features = np.zeros((rows.label.size, 1), np.float32)
        data = xgb.DMatrix(features, label=rows.label, weight=weight, group=lengths, base_margin=self.margin)
        if rows.label_upper is not None:
            data.set_float_info("label_lower_bound", rows.label)
            data.set_float_info("label_upper_bound", rows.label_upper)
        own = {
            "objective": self.objective,
            "verbosity": 0,
            "eval_metric": list(metrics),
            "nthread": 1,
            "base_score": 0.5,
        }
        booster = xgb.Booster({**own, **self.parameters}, [data])
        return [float(field.rpartition(":")[2]) for field in booster.eval(data).split("\t")[1:]]


def deal(random: np.random.Generator, rows: Rows, size: int) -> NDArray[Any]:
    """The rank of each row; queries stay whole."""
    unit = np.arange(rows.label.size) if rows.group is None else np.unique(rows.group, return_inverse=True)[1]
    units = int(unit.max(initial=-1)) + 1
    match random.integers(4):
        case 0:  # evenly
            owner = random.integers(0, size, units)
        case 1:  # all on one rank
            owner = np.full(units, random.integers(size))
        case 2:  # nearly all on one rank
            owner = np.where(
                random.random(units) < 0.9, random.integers(size), random.integers(0, size, units)
            )
        case _ if rows.group is None:  # by label: most ranks lack classes
            owner = np.argsort(np.argsort(rows.label)) * size // max(units, 1)
        case _:
            owner = np.arange(units) * size // max(units, 1)
    return owner[unit]


def draw(random: np.random.Generator, objective: str, rows: int = 3000, *, weighted: bool = False) -> Case:
    """Margins and labels that suit an objective: spread out, tied, all alike or extreme."""
    classes, queries = 4, max(rows // 20, 1)
    several = objective.startswith("multi:") or objective in {"reg:quantileerror", "reg:expectileerror"}
    margin = random.standard_normal((rows, classes) if several else rows) * random.choice([0.3, 2])
    shape = random.integers(4)
    if shape == 1:
        margin = np.round(margin)
    elif shape == 2:
        margin = np.full_like(margin, 0.25)
    elif shape == 3:
        margin *= np.where(random.random(margin.shape) < 0.01, 10, 1)
    label = _labels(random, objective, margin, rows)
    group = np.sort(random.integers(0, queries, rows)) if objective.startswith("rank:") else None
    weight = None
    if weighted:
        weight = random.exponential(1, rows) * (random.random(rows) < 0.9)
        weight = weight if group is None else 0.1 + weight[np.searchsorted(group, group)]
    upper = None
    if objective == "survival:aft":
        upper = label + random.choice([0, 1, np.inf], rows)
    parameters: dict[str, Any] = {}
    if objective.startswith("multi:"):
        parameters = {"num_class": classes}
    if objective.endswith(("quantileerror", "expectileerror")):
        levels = np.sort(random.random(classes)).round(3).tolist()
        parameters = {"quantile_alpha": levels, "expectile_alpha": levels, "base_score": 0}
    scored = Rows(
        label.astype(np.float32),
        None if weight is None else weight.astype(np.float32),
        group,
        None if upper is None else upper.astype(np.float32),
    )
    return Case(objective, margin.astype(np.float32), scored, parameters)


def metrics_of(objective: str) -> list[str]:
    """Every metric that scores an objective, in a form that needs no more parameters than `draw` gives."""
    outputs = 4 if objective in {"reg:quantileerror", "reg:expectileerror"} else 1
    levels = {"quantile", "expectile"} if outputs == 1 else set()
    names = [
        name
        for name in sorted(tasks.METRICS - levels)
        if tasks.metric_problem(name, objective, outputs=outputs) is None
    ]
    return [f"{name}@0.3" if name == "ams" else name for name in names]


def _labels(random: np.random.Generator, objective: str, margin: NDArray[Any], rows: int) -> NDArray[Any]:
    match objective:
        case "binary:logistic" | "binary:logitraw" | "binary:hinge" | "rank:map":
            return random.random(rows) < 1 / (1 + np.exp(-margin))
        case "reg:logistic":
            return random.random(rows)
        case "multi:softprob" | "multi:softmax" | "rank:ndcg" | "rank:pairwise":
            return random.integers(0, 4, rows)
        case "count:poisson":
            return random.poisson(2, rows)
        case "survival:cox":
            return np.where(
                random.random(rows) < 0.5, random.exponential(2, rows), random.integers(1, 9, rows)
            ) * (random.choice([-1, 1], rows))
        case _:
            return random.exponential(2, rows) + 0.01
