"""All metrics of one channel, after every round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numexpr
import numpy as np

from treering.metrics import predictions, tallies
from treering.metrics.blocks import Blocks
from treering.metrics.evaluation import Evaluation, Plan
from treering.metrics.names import Name
from treering.metrics.rows import Data
from treering.metrics.sums import Sums
from treering.metrics.table import Table
from treering.tasks import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from treering.metrics.evaluation import Metric
    from treering.metrics.rows import Floats, Rows
    from treering.world import World


class Evaluator:
    """Metrics of one channel, prepared once; made by `of`."""

    def __init__(self, plan: Plan, metrics: Sequence[Metric]) -> None:
        self._plan = plan
        self._metrics = tuple(metrics)

    @classmethod
    def of(
        cls,
        world: World,
        metrics: Sequence[str],
        objective: str,
        parameters: Mapping[str, object],
        rows: Rows,
        threads: int = 1,
    ) -> Self:
        """Prepare what does not change from round to round; collective.

        Parameters
        ----------
        world
            All ranks.
        metrics
            Names as in `treering.tasks`, alike on all ranks, each with no `treering.tasks.metric_problem`.
        objective
            One of `treering.tasks.OBJECTIVES`.
        parameters
            XGBoost's, among them num_class, and those of single metrics: huber_slope,
            tweedie_variance_power, quantile_alpha, expectile_alpha, aft_loss_distribution,
            aft_loss_distribution_scale, ndcg_exp_gain.
        rows
            This rank's, with labels as `treering.labels` allows them.
        threads
            How many to use.
        """
        numexpr.set_num_threads(min(threads, numexpr.MAX_THREADS))  # it prints and ignores any larger number
        data = Data.of(world, Blocks(threads), rows)
        raw = objective == "binary:logitraw"
        narrow = OBJECTIVES[objective].link == "logit" or objective.startswith(("multi:", "binary:hinge"))
        table = Table(data, parameters, probable=narrow or raw)
        made = [table.metric(Name.of(name)) for name in metrics]
        plan = Plan(
            data,
            predictions.transform(objective),
            raw=raw,
            narrow=narrow,
            losses=tuple(table.losses),
            columns=tuple(table.columns),
            actual=tallies.actual(data, table.classes) if table.classes else np.empty(0),
            sums=Sums(world, data.blocks, len(table.losses) + len(table.columns)),
        )
        return cls(plan, made)

    def values(self, margin: Floats) -> list[float]:
        """All metrics in the order asked for, the same floats on every rank; collective.

        Parameters
        ----------
        margin
            What ``Booster.predict(..., output_margin=True)`` gives for the rows: float32, shape (rows,) or
            (rows, outputs).
        """
        evaluation = Evaluation(self._plan, margin)
        return [metric(evaluation) for metric in self._metrics]
