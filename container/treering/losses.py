"""The losses that treering computes itself: derivatives and base scores, as XGBoost 3.4.1 defines them.

Sources: XGBoost's ``src/objective/regression_loss.h``, ``regression_obj.cu``, ``hinge.cu``,
``multiclass_obj.cu`` and ``init_estimation.cc``. With margin m and label y:

========================== ======================================= ==================================
objective                  gradient                                hessian
========================== ======================================= ==================================
reg:squarederror           m - y                                   1
reg:squaredlogerror        (log(1+m) - log(1+y)) / (1+m),          (1 - log(1+m) + log(1+y)) / (1+m)^2,
                           with m raised to 1e-6 - 1               at least 1e-6
reg:pseudohubererror       z / sqrt(s), with z = m - y,            1 / (s sqrt(s))
                           s = 1 + (z / huber_slope)^2
reg:logistic,              p - y, with p = 1 / (1 + exp(-m))       p (1 - p), at least 1e-16
binary:logistic, logitraw
binary:hinge               1 - 2y where m (2y - 1) < 1, else 0     1 where m (2y - 1) < 1, else 0
count:poisson              exp(m) - y                              exp(m + max_delta_step)
reg:gamma                  1 - y exp(-m)                           y exp(-m)
reg:tweedie, with          exp((2-r) m) - y exp((1-r) m)           (2-r) exp((2-r) m)
r = tweedie_variance_power                                         - (1-r) y exp((1-r) m)
multi:softmax, softprob    p_k - [y = k], with p = softmax(m)      2 p_k (1 - p_k), at least 1e-16
========================== ======================================= ==================================

All is computed in float32, as there. An exponential or logarithm is one call of the C library per value
(numexpr without VML), so its bits depend neither on the value's place in an array nor on threads.

The base score, on the scale of predictions, is one of:

- the weighted mean label: logistic, squared error, poisson, gamma, tweedie;
- the Newton step -G / max(H, 1e-6) from margin 0, turned into a prediction: the other single-output
  objectives, and the first two when scale_pos_weight is not 1;
- for each class the logarithm of its weighted share plus 1e-6, all shifted to a mean of 0.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numexpr
import numpy as np

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]
    type Sum = Callable[[NDArray[np.float64]], float]

_EPSILON: Final = 1e-6  # XGBoost's kRtEps


class Loss(Protocol):
    """One loss; knows nothing of ranks or rounding."""

    @property
    def outputs(self) -> int:
        """Margins per row."""

    @property
    def positive_weight(self) -> float:
        """What the weight of rows with label 1 is multiplied by."""

    def derive(self, margin: Floats, label: Floats, gradient: Floats, hessian: Floats) -> None:
        """Write both derivatives of every row, without its weight.

        Parameters
        ----------
        margin, gradient, hessian
            Shape (outputs, rows); the last two are written.
        label
            Shape (rows,).
        """

    def base_score(self, label: Floats, weight: Floats, total: Sum) -> float | list[float]:
        """The base score, or one per class, rounded to float32.

        Parameters
        ----------
        label, weight
            Shape (rows,); the weights include `positive_weight`.
        total
            Sums an array's values over all ranks.

        Raises
        ------
        UserError
            When all labels are 0 and the margin would be the logarithm of their mean.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Formula:
    """A loss with one output, in numexpr's language: of ``margin``, ``label`` and the names below.

    Parameters
    ----------
    gradient, hessian
        Expressions.
    shared
        What both have in common and is expensive.
    constants
        Hyperparameters with XGBoost's defaults, and other numbers: a literal with a decimal point would
        make numexpr compute in float64.
    least_hessian
        Smaller hessians are raised to this.
    estimate
        Where the base score comes from.
    link
        From a Newton step to the base score.
    scales_positives
        Whether scale_pos_weight applies.
    log_of_mean
        Whether the base score's margin is its logarithm.
    """

    gradient: str
    hessian: str
    shared: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constants: Mapping[str, float] = dataclasses.field(default_factory=dict)
    least_hessian: float = 0.0
    estimate: Literal["mean", "newton"] = "mean"
    link: Literal["identity", "logistic", "step"] = "identity"
    scales_positives: bool = False
    log_of_mean: bool = False


_LOGISTIC: Final = Formula(
    gradient="p - label",
    hessian="p * (1 - p)",
    shared={"p": "1 / (1 + exp(-margin))"},
    least_hessian=1e-16,
    link="logistic",
    scales_positives=True,
)
FORMULAS: Final[Mapping[str, Formula]] = {
    "reg:squarederror": Formula("margin - label", "ones_like(margin)", scales_positives=True),
    "reg:squaredlogerror": Formula(
        gradient="d / (1 + m)",
        hessian="(1 - d) / ((1 + m) * (1 + m))",
        shared={"m": "where(margin < least, least, margin)", "d": "log1p(m) - log1p(label)"},
        constants={"least": 1e-6 - 1},
        least_hessian=1e-6,
        estimate="newton",
    ),
    "reg:pseudohubererror": Formula(
        gradient="(margin - label) / sqrt(s)",
        hessian="1 / (s * sqrt(s))",
        shared={"s": "1 + ((margin - label) / huber_slope) ** 2"},
        constants={"huber_slope": 1.0},
        estimate="newton",
    ),
    "reg:logistic": _LOGISTIC,
    "binary:logistic": _LOGISTIC,
    "binary:logitraw": dataclasses.replace(_LOGISTIC, link="identity"),
    "binary:hinge": Formula(
        gradient="where(margin * (2 * label - 1) < 1, 1 - 2 * label, 0)",
        hessian="where(margin * (2 * label - 1) < 1, 1, 0)",
        estimate="newton",
        link="step",
    ),
    "count:poisson": Formula(
        gradient="exp(margin) - label",
        hessian="exp(margin + max_delta_step)",
        constants={"max_delta_step": 0.7},
        log_of_mean=True,
    ),
    "reg:gamma": Formula("1 - ratio", "ratio", {"ratio": "label * exp(-margin)"}, log_of_mean=True),
    "reg:tweedie": Formula(
        gradient="b - a",
        hessian="(2 - tweedie_variance_power) * b - (1 - tweedie_variance_power) * a",
        shared={
            "a": "label * exp((1 - tweedie_variance_power) * margin)",
            "b": "exp((2 - tweedie_variance_power) * margin)",
        },
        constants={"tweedie_variance_power": 1.5},
        log_of_mean=True,
    ),
}
SOFTMAX: Final = frozenset({"multi:softmax", "multi:softprob"})


def make(objective: str, parameters: Mapping[str, Any]) -> Loss:
    """The loss of an objective in `FORMULAS` or `SOFTMAX`, with the hyperparameters that it takes.

    Raises KeyError for any other objective, and for a multi-class one without ``num_class``.
    """
    if objective in SOFTMAX:
        return Softmax(int(parameters["num_class"]))
    formula = FORMULAS[objective]
    given = {name: float(parameters.get(name, value)) for name, value in formula.constants.items()}
    formula = dataclasses.replace(formula, constants=given)
    scale = float(parameters.get("scale_pos_weight", 1)) if formula.scales_positives else 1.0
    if scale != 1:
        formula = dataclasses.replace(formula, estimate="newton")
    return Elementwise(objective, formula, scale)


@dataclasses.dataclass(frozen=True, slots=True)
class Elementwise:
    """A loss with one output."""

    name: str
    formula: Formula
    positive_weight: float = 1.0
    outputs: int = 1

    def derive(self, margin: Floats, label: Floats, gradient: Floats, hessian: Floats) -> None:
        """See `Loss.derive`."""
        formula = self.formula
        names: dict[str, Any] = {name: np.float32(value) for name, value in formula.constants.items()}
        names |= {"margin": margin[0], "label": label}
        for name, expression in formula.shared.items():
            names[name] = _evaluate(expression, names, np.empty_like(label))
        _evaluate(formula.gradient, names, gradient[0])
        _evaluate(formula.hessian, names, hessian[0])
        if formula.least_hessian:
            np.maximum(hessian, np.float32(formula.least_hessian), out=hessian)

    def base_score(self, label: Floats, weight: Floats, total: Sum) -> float:
        """See `Loss.base_score`."""
        exact_weight = weight.astype(np.float64)
        if self.formula.estimate == "newton":
            gradient, hessian = np.empty((2, 1, label.size), np.float32)
            self.derive(np.zeros_like(gradient), label, gradient, hessian)
            step = -total(gradient[0] * exact_weight) / max(total(hessian[0] * exact_weight), _EPSILON)
            return _from_margin(step, self.formula.link)
        mean = total(label * exact_weight) / total(exact_weight)
        if self.formula.log_of_mean and mean <= 0:
            raise UserError(
                f"{self.name} cannot start from labels that are all 0; check the label column, or give base_score"
            )
        return float(np.float32(mean))


@dataclasses.dataclass(frozen=True, slots=True)
class Softmax:
    """Multi-class cross entropy: one output per class."""

    outputs: int
    positive_weight: float = 1.0

    def derive(self, margin: Floats, label: Floats, gradient: Floats, hessian: Floats) -> None:
        """See `Loss.derive`."""
        probability = gradient  # its memory serves both
        _evaluate("exp(margin - highest)", {"margin": margin, "highest": margin.max(axis=0)}, probability)
        total = probability[0].copy()
        for of_class in probability[1:]:
            total += of_class  # one by one: numpy's own sum changes its order with the shape
        probability /= total
        _evaluate("2 * p * (1 - p)", {"p": probability}, hessian)
        np.maximum(hessian, np.float32(1e-16), out=hessian)
        for number in range(self.outputs):
            gradient[number] -= label == number

    def base_score(self, label: Floats, weight: Floats, total: Sum) -> list[float]:
        """See `Loss.base_score`."""
        everything = total(weight.astype(np.float64))
        shares = [
            total(np.where(label == number, weight, 0).astype(np.float64)) / everything
            for number in range(self.outputs)
        ]
        logarithms = [math.log(share + _EPSILON) for share in shares]
        centre = math.fsum(logarithms) / self.outputs
        return [float(np.float32(logarithm - centre)) for logarithm in logarithms]


def fingerprint() -> str:
    """A digest of the exponentials and logarithms used here: hosts with equal ones compute equal bits.

    The C library chooses its code by the processor (fused multiply-add or not, say), and the last bit may
    differ between choices. 2^16 float32 arguments of each function tell them apart.
    """
    arguments = np.linspace(-30, 30, 2**16, dtype=np.float32)
    digest = hashlib.sha256(numexpr.evaluate("exp(x)", {"x": arguments}, {}).tobytes())
    digest.update(numexpr.evaluate("log1p(x)", {"x": np.exp2(arguments)}, {}).tobytes())
    for function in (
        np.exp,
        np.log,
    ):  # the metrics use these; numpy brings code of its own for each processor
        digest.update(function(np.abs(arguments) + np.float32(1e-3)).tobytes())
    doubles = [term for x in arguments[::64].tolist() for term in (math.exp(x), math.log(x * x + 1e-3))]
    digest.update(np.array(doubles).tobytes())
    return digest.hexdigest()[:16]


def _evaluate(expression: str, names: Mapping[str, Any], out: Floats) -> Floats:
    numexpr.evaluate(expression, names, {}, out=out, casting="same_kind")
    return out


def _from_margin(margin: float, link: str) -> float:
    if link == "step":
        return float(margin > 0)
    return float(np.float32(1 / (1 + math.exp(-margin)) if link == "logistic" else margin))
