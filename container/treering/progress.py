"""How far a rank has come: what it tells its supervisor, so that a stall has a place and a culprit."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from treering.report import Reporter

SAVES_WHEN_STOPPED: Final = frozenset({"training", "scoring", "saving"})  # in others, there is nothing
SCRIPT: Final = (
    "the script"  # the phase in which a user's own code runs: it may compute for ever and tell nothing
)
RING: Final = "connecting XGBoost's ring"  # the phase in which strangers at its ports can keep ranks apart
_PAUSE = 1.0  # seconds between two words of one rank, but for a new phase
_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """A rank's place in its work.

    Parameters
    ----------
    step
        Phases entered so far: all ranks walk through the same ones, so the lowest is the last.
    phase
        Its name.
    done, total, unit
        Within the phase: bytes or rounds; `total` is None where it is not known.
    rows
        Made of these bytes, where it is bytes.
    waits
        Whether the others have to come before it can go on, so that it is none of those that hang.
    """

    step: int = 0
    phase: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    rows: int = 0
    waits: bool = False

    @property
    def part(self) -> float | None:
        """How much of this phase is done, from 0 to 1; None where it is not known. Of nothing, all is."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0

    @property
    def order(self) -> tuple[int, float]:
        """Sort key by which the rank that is furthest behind comes first."""
        return self.step, float(self.done) if self.part is None else self.part

    def __str__(self) -> str:
        if not self.done and not self.total:
            return self.phase
        done, unit = self._amount(self.done), "MB" if self.unit == "bytes" else self.unit
        reached = done if self.total is None else f"{done} of {self._amount(self.total)}"
        rows = f", {self.rows:,} rows" if self.rows else ""
        return f"{self.phase}, {reached} {unit}".rstrip() + rows

    def _amount(self, number: int) -> str:
        return f"{number / _MEGABYTE:,.1f}" if self.unit == "bytes" else f"{number:,}"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError on anything else."""
        total = value["total"]
        return cls(
            int(value["step"]),
            str(value["phase"]),
            int(value["done"]),
            None if total is None else int(total),
            str(value["unit"]),
            int(value["rows"]),
            bool(value["waits"]),
        )


class Progress:
    """What the work tells about itself, and hears from its supervisor; without one, it tells nobody.

    Calls cost about a microsecond, so they may stand in any loop: a thread of its own sends the newest
    position at most once a second, also when the work hangs right after it. A new phase is sent at once.

    Parameters
    ----------
    reporter
        The rank's line to its supervisor.
    """

    def __init__(self, reporter: Reporter | None = None) -> None:
        self._reporter = reporter
        self._position = Position()
        self._sent = self._position
        self._lock = threading.Lock()
        self._news = threading.Event()

    def phase(self, name: str, total: int | None = None, unit: str = "", *, done: int = 0) -> None:
        """Enter the next phase; all ranks enter the same ones in the same order.

        Phases of the built-in job: ``loading``, then for each channel one such as ``loading train``, ``matrix``, ``cuts``,
        for each channel one such as ``binning train``, `RING`, ``training``, with strategy=ensemble ``scoring``, and ``saving``. From ``training`` on, a job that is asked to
        stop waits for the round and its checkpoint.

        Parameters
        ----------
        name
            Of the phase.
        total, unit
            What there is to do, such as 100 rounds. Where it is known, people are told how fast it goes and when
            it will be through.
        done
            What was done before, such as the rounds of a checkpoint.
        """
        first = self._position.step == 0
        self._position = Position(self._position.step + 1, name, done, total, unit)
        self._send()
        if first and self._reporter is not None:
            threading.Thread(target=self._send_news, daemon=True).start()

    def advance(self, done: int, *, rows: int = 0) -> None:
        """Tell how much of this phase is done so far, such as 12 rounds; what does not grow is no progress."""
        self._position = dataclasses.replace(self._position, done=done, rows=rows)
        self._news.set()

    def wait(self, waits: bool) -> None:
        """Tell that this rank waits for the others, or that they have come."""
        self._position = dataclasses.replace(self._position, waits=waits)
        self._news.set()

    def stop_requested(self) -> bool:
        """Whether this host was asked to stop, once and for all; ranks still have to agree on the round."""
        return self._reporter is not None and self._reporter.stop_requested()

    def stopped(self, sentence: str, *, saved_model: bool) -> None:
        """Last word of an orderly early end.

        Parameters
        ----------
        sentence
            What is kept, such as "the checkpoint of round 12 is in /opt/ml/checkpoints".
        saved_model
            Whether the model was saved on request: only then does a stopped job end with exit code 0.
        """
        if self._reporter is not None:
            self._reporter.stopped(sentence, saved_model=saved_model)

    def _send(self) -> None:
        if self._reporter is None:
            return
        with self._lock:  # what is sent last is the newest
            if self._position != self._sent:
                self._sent = self._position
                self._reporter.at(self._sent)

    def _send_news(self) -> None:
        pause = threading.Event()
        while True:
            self._news.wait()
            self._news.clear()
            self._send()
            pause.wait(_PAUSE)
