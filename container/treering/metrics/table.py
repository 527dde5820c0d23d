"""From a metric's name to what computes it."""

from __future__ import annotations

import functools
import math
import operator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

from treering.metrics import curves, losses, ranking, survival, tallies
from treering.metrics.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from treering.metrics.evaluation import Column, Evaluation, Metric
    from treering.metrics.losses import Loss
    from treering.metrics.names import Name
    from treering.metrics.rows import Data

_LOSSES: Final[Mapping[str, Loss]] = {
    "rmse": losses.squared,
    "mse": losses.squared,
    "r2": losses.squared,
    "mae": losses.absolute,
    "mape": losses.relative,
    "rmsle": losses.squared_log,
    "mlogloss": losses.cross_entropy,
    "merror": losses.misplaced,
    "poisson-nloglik": losses.poisson,
    "gamma-nloglik": losses.gamma,
    "gamma-deviance": losses.gamma_deviance,
}


class Table:
    """Makes the metrics of one channel, and notes which sums over rows they share.

    Parameters
    ----------
    data
        Rows of all ranks.
    parameters
        XGBoost's: those of single metrics, and ``num_class``.
    probable
        Whether predictions are probabilities, or margins of them.
    """

    def __init__(self, data: Data, parameters: Mapping[str, Any], *, probable: bool) -> None:
        self._probable = probable
        self.losses: dict[Loss, None] = {}
        self.columns: dict[Column, None] = {}
        self.classes = 0  # to tally; none unless a metric needs it
        self._data = data
        self._parameters = parameters
        self._num_class = int(parameters.get("num_class") or 0)
        self._documents = functools.cache(lambda: ranking.Documents(data))

    def metric(self, name: Name) -> Metric:
        """Prepare a metric; collective."""
        makers = dict.fromkeys(tallies.SCORES, self._score) | {
            "auc": self._area,
            "aucpr": self._area,
            "ndcg": self._top,
            "map": self._top,
            "pre": self._top,
            "ams": self._significance,
            "cox-nloglik": self._cox,
            "aft-nloglik": self._column,
            "interval-regression-accuracy": self._column,
        }
        return makers.get(name.base, self._mean)(name)

    def _mean(self, name: Name) -> Metric:
        """A weighted mean over rows, and what is made of it."""
        loss = self._loss(name)
        self.losses[loss] = None
        finish = self._finish(name.base)
        return lambda evaluation: finish(evaluation.mean(loss))

    def _loss(self, name: Name) -> Loss:
        makers: dict[str, Callable[[], Loss]] = {
            "logloss": self._likelihood,
            "error": lambda: self._misclassified(0.5 if name.number is None else name.number),
            "mphe": lambda: losses.pseudo_huber(self._number("huber_slope", 1)),
            "tweedie-nloglik": lambda: losses.tweedie(
                name.number or self._number("tweedie_variance_power", 1.5)
            ),
            "quantile": lambda: losses.quantile(self._levels("quantile_alpha")),
            "expectile": lambda: losses.expectile(self._levels("expectile_alpha")),
        }
        return makers[name.base]() if name.base in makers else _LOSSES[name.base]

    def _likelihood(self) -> Loss:
        classes = self._probable and self._has_classes
        return losses.likelihood_of_classes if classes else losses.likelihood

    def _misclassified(self, threshold: float) -> Loss:
        return (losses.misclassified_classes if self._has_classes else losses.misclassified)(threshold)

    @functools.cached_property
    def _has_classes(self) -> bool:
        """Whether all labels of this rank are 0 or 1."""
        label = self._data.rows.label
        return bool(((label == 0) | (label == 1)).all())

    def _finish(self, base: str) -> Callable[[float], float]:
        match base:
            case "rmse" | "rmsle":
                return math.sqrt
            case "logloss":
                return operator.neg
            case "poisson-nloglik":
                label = self._data.rows.label.astype(np.float64)
                constant = self._data.mean(special.gammaln(label + 1))
                return lambda mean: mean + constant
            case "r2":
                return self._explained()
            case _:
                return float

    def _explained(self) -> Callable[[float], float]:
        """1 - mean / variance; 1 or 0 without variance, NaN for a single row, as scikit-learn has it."""
        data, label = self._data, self._data.rows.label.astype(np.float64)
        variance = data.mean((label - data.mean(label)) ** 2)
        if data.count < 2:  # noqa: PLR2004  # rows that can differ
            return lambda _: math.nan
        return lambda mean: 1 - mean / variance if variance else float(mean == 0)

    def _column(self, name: Name) -> Metric:
        column: Column = survival.interval_hit
        if name.base == "aft-nloglik":
            distribution = str(self._parameters.get("aft_loss_distribution") or "normal")
            column = survival.aft(distribution, self._number("aft_loss_distribution_scale", 1))
        self.columns[column] = None
        return lambda evaluation: evaluation.mean(column)

    def _score(self, name: Name) -> Metric:
        self.classes = self._num_class or 2
        score, weight = tallies.SCORES[name.base], self._data.weight
        return lambda evaluation: score(evaluation.tally, weight) if weight else math.nan

    def _area(self, name: Name) -> Metric:
        data = self._data
        if data.grouped:
            by_query = (ranking.PairOrder if name.base == "auc" else ranking.PrecisionRecall)(
                self._documents()
            )
            return lambda evaluation: by_query.value(evaluation.margin)
        area = curves.auc if name.base == "auc" else curves.aucpr(Sums(data.world, data.blocks, 1))
        if self._num_class:
            return lambda evaluation: curves.one_against_rest(evaluation.scores, area, self._num_class)
        if data.any((data.rows.label < 0) | (data.rows.label > 1)):
            return lambda _: math.nan  # such labels say nothing about being positive
        target = curves.Target.of(data)
        return lambda evaluation: area(evaluation.scores, evaluation.scores.ordered("label", target))

    def _top(self, name: Name) -> Metric:
        exponential = str(self._parameters.get("ndcg_exp_gain", True)).lower() in {"true", "1"}
        documents = self._documents()
        top = ranking.TopDocuments(documents, name, exponential=exponential)
        return lambda evaluation: top.value(evaluation.margin, lambda: evaluation.ranked(documents))

    def _significance(self, name: Name) -> Metric:
        share, target = name.number or 0.0, curves.Target.above(self._data, 0.5)

        def value(evaluation: Evaluation) -> float:
            return curves.ams(
                evaluation.scores, evaluation.scores.ordered("half", target), share, target.unit
            )

        return value

    def _cox(self, _: Name) -> Metric:
        cox = survival.Cox(self._data)
        return lambda evaluation: cox.value(evaluation.log_prediction)

    def _number(self, name: str, default: float) -> float:
        given = self._parameters.get(name)
        return default if given is None else float(given)

    def _levels(self, name: str) -> list[float]:
        return [float(level) for level in np.atleast_1d(np.asarray(self._parameters[name], np.float64))]
