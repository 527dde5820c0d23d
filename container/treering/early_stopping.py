"""Early stopping: when the metric that it follows has not improved for a while."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from treering.hyperparameters import Hyperparameters


def channel(evaluated: Iterable[str]) -> str:
    """Whose metric is followed: the validation channel's, else that of the last one."""
    evaluated = list(evaluated)
    return "validation" if "validation" in evaluated else evaluated[-1]


@dataclasses.dataclass(slots=True)
class EarlyStopping:
    """Decides alike on every rank, since every rank has the same scores.

    All it knows follows from the scores of the rounds so far, so a checkpoint needs to keep nothing else.

    Parameters
    ----------
    metric
        What it follows, such as ``validation-rmse``; None never stops.
    maximize
        Whether larger is better.
    patience
        Rounds without improvement after which it is over.
    rounds
        Noted so far.
    best_round
        Number of rounds after which the metric was best: the size of the model to keep.
    best
        Its value then; None as long as there was none.
    """

    metric: str | None = None
    maximize: bool = False
    patience: int = 0
    rounds: int = 0
    best_round: int = 0
    best: float | None = None

    @classmethod
    def of(
        cls, chosen: Hyperparameters, evaluated: Iterable[str], history: Iterable[Mapping[str, float]]
    ) -> EarlyStopping:
        """As the job asks for it, which may be never, after the scores of earlier rounds."""
        if chosen.early_stopping_rounds is None:
            return cls()
        metric = str(chosen.early_stopping_metric)
        stopping = cls(
            f"{channel(evaluated)}-{metric}", chosen.maximize(metric), chosen.early_stopping_rounds
        )
        for scores in history:
            stopping.note(scores)
        return stopping

    @property
    def is_over(self) -> bool:
        """Whether the best round lies `patience` rounds back."""
        return self.best is not None and self.rounds - self.best_round >= self.patience

    def note(self, scores: Mapping[str, float]) -> None:
        """Take in the scores of a round; one that ends it all stays the last."""
        if self.is_over:
            return
        self.rounds += 1
        value = scores.get(str(self.metric))  # rounds before a checkpoint may have had other metrics
        if value is None:
            return
        if math.isnan(value):
            raise UserError(
                f"early stopping follows {self.metric}, which is not a number in round {self.rounds - 1}: it cannot score "
                "these rows (auc needs both classes, say), or training diverged; choose another metric or a lower eta"
            )
        if self.best is None or (value > self.best if self.maximize else value < self.best):
            self.best_round, self.best = self.rounds, value
