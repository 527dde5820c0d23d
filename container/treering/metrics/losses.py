"""Losses of single rows, for metrics that are their weighted mean.

Sources: XGBoost 3.4.1, ``src/metric`` (one header for each family), in float32 as there; for mse and r2
scikit-learn's `mean_squared_error` and `r2_score`. With label y and prediction p:

===================== ==================================================================
rmse, mse, r2         (y - p)^2; rmse its mean's root, r2 = 1 - mean / variance of labels
mae                   |y - p|
mape                  |(y - p) / y|
mphe                  s^2 (sqrt(1 + ((y - p) / s)^2) - 1), with s = huber_slope
rmsle                 (log(1 + y) - log(1 + p))^2; the root of its mean
logloss               -y log p - (1 - y) log(1 - p), both arguments at least 1e-16
error@t               1 - y where p > t, else y; t = 0.5 if not given
mlogloss              -log p_y, the argument at least 1e-16
merror                1 where the first largest p is another class's, else 0
poisson-nloglik       log gamma(y + 1) + p - y log p, with p at least 1e-16
gamma-nloglik         y / p + log p, with p at least 1e-6
gamma-deviance        2 (log(p / y) + y / p - 1), with 1e-6 added to both
tweedie-nloglik@r     p^(2-r) / (2-r) - y p^(1-r) / (1-r)
quantile              a (y - p) where y >= p, else (1 - a) (p - y); mean over all levels a
expectile             (1 - a) (y - p)^2 where p >= y, else a (y - p)^2; mean over all levels a
===================== ==================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from treering.metrics.predictions import log1p

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from treering.metrics.predictions import Block
    from treering.metrics.rows import Floats

    type Loss = Callable[[Block], Floats | NDArray[np.bool_]]

_EPSILON: Final = np.float32(1e-16)
_RT_EPSILON: Final = np.float32(1e-6)  # XGBoost's kRtEps
_ONE: Final = np.float32(1)
_MOST: Final = np.float32(np.inf)


def squared(block: Block) -> Floats:
    """Of rmse, mse and r2."""
    difference = block.label - block.prediction
    difference *= difference
    return difference


def absolute(block: Block) -> Floats:
    """Of mae."""
    return np.abs(block.label - block.prediction)


def relative(block: Block) -> Floats:
    """Of mape."""
    return np.abs((block.label - block.prediction) / block.label)


def pseudo_huber(slope: float) -> Loss:
    """Of mphe."""
    width = np.float32(slope)

    def loss(block: Block) -> Floats:
        scaled = (block.label - block.prediction) / width
        return width * width * (np.sqrt(_ONE + scaled * scaled) - _ONE)

    return loss


def squared_log(block: Block) -> Floats:
    """Of rmsle."""
    difference = log1p(block.label) - log1p(block.prediction)
    return difference * difference


def likelihood(block: Block) -> Floats:
    """Of logloss, but for the sign."""
    label, probability = block.label, block.probability
    return label * _log(probability, _EPSILON) + (_ONE - label) * _log(_ONE - probability, _EPSILON)


def likelihood_of_classes(block: Block) -> Floats:
    """The same to the last bit, of labels 0 and 1 and probabilities, with one logarithm: |1 - y - p| is p or 1 - p."""
    right = _ONE - block.label
    right -= block.probability
    np.abs(right, out=right)
    return _log(right, _EPSILON, out=right)


def misclassified(threshold: float) -> Loss:
    """Of error and error@t."""
    limit = np.float32(threshold)

    def loss(block: Block) -> Floats:
        result = _ONE - block.label  # without numpy's where(), which is slow on what nobody can foresee
        result -= block.label
        result *= block.prediction > limit
        result += block.label
        return result

    return loss


def misclassified_classes(threshold: float) -> Loss:
    """The same of labels 0 and 1."""
    limit = np.float32(threshold)
    return lambda block: (block.prediction > limit) != (block.label > 0)


def cross_entropy(block: Block) -> Floats:
    """Of mlogloss."""
    label = block.label.astype(np.intp)
    return -_log(block.prediction[label, np.arange(label.size)], _EPSILON)


def misplaced(block: Block) -> NDArray[np.bool_]:
    """Of merror."""
    return np.not_equal(block.classes, block.label)


def poisson(block: Block) -> Floats:
    """Of poisson-nloglik, less the logarithm of the gamma function."""
    mean = np.maximum(block.prediction, _EPSILON)
    return np.asarray(mean - np.log(mean) * block.label)


def gamma(block: Block) -> Floats:
    """Of gamma-nloglik."""
    mean = np.maximum(block.prediction, _RT_EPSILON)
    return np.asarray(block.label / mean + np.log(mean))


def gamma_deviance(block: Block) -> Floats:
    """Of gamma-deviance."""
    mean, label = block.prediction + _RT_EPSILON, block.label + _RT_EPSILON
    return np.float32(2) * (np.log(mean / label) + label / mean - _ONE)


def tweedie(power: float) -> Loss:
    """Of tweedie-nloglik@power."""
    first, second = np.float32(1 - power), np.float32(2 - power)

    def loss(block: Block) -> Floats:
        logarithm = np.log(block.prediction)
        return np.exp(second * logarithm) / second - block.label * np.exp(first * logarithm) / first

    return loss


def quantile(levels: Sequence[float]) -> Loss:
    """Of quantile: the mean over the levels, one prediction for each."""

    def at(level: np.float32, difference: Floats) -> Floats:
        return np.asarray(np.maximum(level * difference, (level - _ONE) * difference))

    return _mean_over(levels, at)


def expectile(levels: Sequence[float]) -> Loss:
    """Of expectile: the mean over the levels, one prediction for each."""

    def at(level: np.float32, difference: Floats) -> Floats:
        return np.where(difference <= 0, _ONE - level, level) * difference * difference

    return _mean_over(levels, at)


def _mean_over(levels: Sequence[float], at: Callable[[np.float32, Floats], Floats]) -> Loss:
    def loss(block: Block) -> Floats:
        predictions = np.atleast_2d(block.prediction)
        result = np.zeros_like(block.label)
        for level, prediction in zip(levels, predictions, strict=True):
            result += at(np.float32(level), block.label - prediction)
        result /= np.float32(len(levels))
        return result

    return loss


def _log(values: Floats, least: np.float32, out: Floats | None = None) -> Floats:
    if not values.min(initial=least) >= least:  # mostly none is lower, and looking takes a third of raising
        values = out = np.clip(values, least, _MOST, out=out)  # in a third of the time of maximum()
    return np.log(values, out=out)
