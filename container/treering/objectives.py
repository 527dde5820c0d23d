"""Objectives whose gradients sum exactly: XGBoost's losses on a grid, and the base scores that go with them.

XGBoost sums gradients in float64 in an order that follows from threads and hosts. Given the gradients
made here, rounded to a power-of-two grid (`treering.grid`), it cannot but find the same sums for every
layout of the rows. A custom objective leaves XGBoost without an estimate of ``base_score``; that is made
here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numexpr
import numpy as np

from treering import grid, losses
from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from treering.losses import Floats
    from treering.world import World


def obstacle(objective: str, parameters: Mapping[str, Any]) -> str | None:
    """Why XGBoost's own, inexact objective has to be used, in a few words; None where ours can be.

    Parameters
    ----------
    objective
        XGBoost's name of it.
    parameters
        The booster's other parameters.
    """
    booster = parameters.get("booster", "gbtree")
    method = parameters.get("tree_method", "hist")
    process = parameters.get("process_type", "default")
    sampling = parameters.get("sampling_method", "uniform")
    draws = float(parameters.get("subsample", 1)) < 1
    obstacles = (
        (
            objective not in losses.FORMULAS and objective not in losses.SOFTMAX,
            f"objective {objective} has no exact form",
        ),
        (booster not in {"gbtree", "dart"}, f"booster {booster} grows no trees"),
        (method not in {"hist", "auto"}, f"tree_method {method} does not use global cuts"),
        (process != "default", f"process_type {process} grows no trees"),
        (parameters.get("updater") is not None, "updater is given"),
        (
            str(parameters.get("device", "cpu")).startswith(("cuda", "gpu")),
            "GPUs sum in an order and a precision of their own",
        ),
        (draws and sampling != "uniform", f"sampling_method {sampling} draws by local sums"),
        (
            draws and int(parameters.get("num_parallel_tree", 1)) > 1,
            "num_parallel_tree needs other rows for each tree, but gradients can only leave out a round's",
        ),
    )
    return next((reason for holds, reason in obstacles if holds), None)


def make(
    objective: str,
    parameters: Mapping[str, Any],
    world: World,
    label: Floats,
    weight: Floats | None = None,
    *,
    stand_in: bool = False,
    threads: int = 1,
) -> Objective:
    """Prepare an objective for this rank's rows; collective.

    Parameters
    ----------
    objective, parameters
        For which `obstacle` is None.
    world
        All ranks.
    label, weight
        float32, shape (rows,). Labels are in the objective's domain; no weights means all 1.
    stand_in
        Whether the only row here stands in for none, on a rank without data: it then counts nowhere.
    threads
        How many numexpr may use, in this whole process.

    Raises
    ------
    UserError
        When a weight is negative or not finite, or all are 0.
    """
    numexpr.set_num_threads(min(threads, numexpr.MAX_THREADS))  # it prints and ignores any larger number
    if stand_in:
        label, weight = label[:0], None if weight is None else weight[:0]
    _check_weights(world, weight)
    return Objective(world, objective, losses.make(objective, parameters), label, weight)


class Objective:
    """Gradients of this rank's rows, on the same grid on all ranks; made by `make`."""

    def __init__(
        self, world: World, name: str, loss: losses.Loss, label: Floats, weight: Floats | None
    ) -> None:
        self._world = world
        self._name = name
        self._loss = loss
        self._label = label
        self._weight = weight
        if loss.positive_weight != 1:
            factor = np.where(label == 1, np.float32(loss.positive_weight), np.float32(1))
            self._weight = factor if weight is None else weight * factor
        self._total_rows = int(world.allreduce(np.array([label.size], np.int64))[0])
        self._derivatives: Floats = np.zeros((2, loss.outputs, label.size), np.float32)

    def gradient(self, margin: Floats, drawn: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
        """Gradient and hessian for ``Booster.boost``; collective.

        Parameters
        ----------
        margin
            What ``Booster.predict(..., output_margin=True, training=True)`` gives for the training
            matrix: shape (rows,) or (rows, classes).
        drawn
            Which rows take part in this round, shape (rows,); the others get zeros, as in XGBoost's own
            row sampling.

        Returns
        -------
        gradient, hessian
            float32 in the shape of `margin`, valid until the next call: the memory is used again.

        Raises
        ------
        UserError
            On all ranks when a value on any of them is not finite.
        """
        if not self._label.size:  # the only row stands in for none
            self._to_grid()
            return np.zeros_like(margin), np.zeros_like(margin)
        gradient, hessian = self._derivatives
        rows_last = margin.reshape(-1, self._loss.outputs).T
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by _to_grid
            self._loss.derive(np.ascontiguousarray(rows_last), self._label, gradient, hessian)
            for factor in (self._weight, drawn):
                if factor is not None:
                    self._derivatives *= factor
        self._to_grid()
        return gradient.T.reshape(margin.shape), hessian.T.reshape(margin.shape)

    def base_score(self) -> float | list[float]:
        """What XGBoost would estimate itself, from exact sums: a value of its parameter; collective.

        See `treering.losses`; raises UserError as `losses.Loss.base_score` does.
        """
        weight = np.ones_like(self._label) if self._weight is None else self._weight
        return self._loss.base_score(self._label, weight, lambda values: grid.exact_sum(self._world, values))

    def _to_grid(self) -> None:
        """Round both derivatives of every output to the grid of its largest value on any rank."""
        flat = self._derivatives.reshape(2 * self._loss.outputs, self._label.size)
        highest, lowest = flat.max(axis=1, initial=0), flat.min(axis=1, initial=0)
        largest = np.maximum(highest, -lowest)
        largest[np.isnan(largest)] = np.inf  # a maximum over ranks is undefined for NaN
        largest = self._world.allreduce(largest, "max")
        if not np.isfinite(largest).all():
            raise UserError(
                f"{self._name} diverged: a gradient is no longer finite; lower eta, or look for extreme labels "
                "or weights"
            )
        for values, bound in zip(flat, largest, strict=True):
            grid.snap(values, grid.step(self._total_rows, float(bound)))


def _check_weights(world: World, weight: Floats | None) -> None:
    """Refuse weights that mean nothing, on all ranks alike."""
    weight = np.ones(1, np.float32) if weight is None else weight
    good = np.isfinite(weight) & (weight >= 0)
    bad, positive = world.allreduce(np.array([np.count_nonzero(~good), np.count_nonzero(weight > 0)]))
    if bad:
        raise UserError(f"{bad} rows have a weight that is negative or not finite; weights are 0 or more")
    if not positive:
        raise UserError("all rows have weight 0, so there is nothing to learn; check the weight column")
