"""What the average says of this rank's rows, kept from round to round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import xgboost as xgb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from treering.scoring import Scored

# What XGBoost needs to know to predict; the rest is in the model.
_PREDICTS = ("device", "nthread", "verbosity")


class Margins:
    """The average's margins of one channel. Use as a context manager: the matrix is then left as it was.

    They are base margins of the matrix, so that predicting with some trees adds these trees. XGBoost adds tree by
    tree in float32 either way: the same bits as if all were predicted at once.

    Parameters
    ----------
    scored
        The channel.
    parameters
        XGBoost's own, with the base score.
    """

    def __init__(self, scored: Scored, parameters: Mapping[str, object]) -> None:
        self._scored = scored
        self._parameters = {name: parameters[name] for name in _PREDICTS if name in parameters}
        self._given = scored.matrix.get_base_margin()
        if scored.rows:
            untrained = xgb.Booster(dict(parameters), [scored.matrix])
            self.values: NDArray[np.float32] = untrained.predict(scored.matrix, output_margin=True)
        else:  # XGBoost predicts nothing for no rows, not even a shape
            self.values = np.empty((0, scored.outputs) if scored.outputs > 1 else 0, np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scored.matrix.set_base_margin(self._given)

    def add(self, trees: xgb.Booster, rounds: tuple[int, int] = (0, 0)) -> None:
        """Add rounds ``[first, last)`` of a model; ``(0, 0)`` stands for all."""
        if self._scored.rows:
            trees.set_param(self._parameters)
            self._scored.matrix.set_base_margin(self.values)
            self.values = trees.predict(self._scored.matrix, output_margin=True, iteration_range=rounds)

    def metrics(self) -> list[float]:
        """All metrics of the average, equal on all ranks; collective."""
        return self._scored.evaluator.values(self.values)
