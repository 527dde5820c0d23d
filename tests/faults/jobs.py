"""What the hosts of a lab run: the built-in job on small or large data, or a rank program that misbehaves."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .lab import Lab

_HERE = Path(__file__).parent
ABALONE = _HERE.parents[1] / "examples" / "abalone" / "train"
ENDLESS = 1_000_000  # rounds
CHECKPOINTED = {"checkpoint_interval": "2"}  # hyperparameters of a job that keeps some
_COLUMNS = 28
_BLOCK = 2000  # rows drawn
_REPEATED = 150  # times: about 80 MB of text

type Data = Literal["small", "large"]


def make_large(folder: Path, seed: int) -> Path:
    """A channel that takes seconds to load and to cut: one file, whose rows repeat."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((_BLOCK, _COLUMNS + 1)).astype(np.float32)
    block = "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows)
    channel = folder / "large"
    channel.mkdir()
    with (channel / "rows.csv").open("w") as file:
        for _ in range(_REPEATED):
            file.write(block)
    return channel


@dataclasses.dataclass(frozen=True)
class Job:
    """One job.

    Parameters
    ----------
    rounds
        How many it boosts.
    data
        ``small`` is loaded in an instant, ``large`` is not.
    action
        None for the built-in job, else what `rank.py` does on the culprit's rank in round 5.
    hyperparameters
        Further ones.
    checkpoints
        Whether the job has a folder for them: ``checkpoints`` in each host's tree.
    """

    rounds: int = ENDLESS
    data: Data = "small"
    action: str | None = None
    hyperparameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    checkpoints: bool = False

    def all_hyperparameters(self) -> dict[str, str]:
        """What the job is given: small trees, so that rounds are short."""
        return {"num_round": str(self.rounds), "max_depth": "2", "max_bin": "16", **self.hyperparameters}

    def install(self, lab: Lab, large: Path) -> None:
        """Write the config files of all hosts; `large` is the folder that `make_large` made."""
        channel, kind = (ABALONE, "text/libsvm") if self.data == "small" else (large, "text/csv")
        for host in lab.hosts.values():
            config = host.base / "input" / "config"
            (config / "hyperparameters.json").write_text(json.dumps(self.all_hyperparameters()))
            (config / "inputdataconfig.json").write_text(json.dumps({"train": {"ContentType": kind}}))
            if self.checkpoints:
                where = {"LocalPath": str(host.base / "checkpoints")}
                (config / "checkpointconfig.json").write_text(json.dumps(where))
            (host.base / "input" / "data").mkdir()
            (host.base / "input" / "data" / "train").symlink_to(channel)

    def command(self, culprit: int) -> list[str]:
        """What each host runs; `culprit` is the rank that misbehaves."""
        if self.action is None:
            return [sys.executable, "-m", "treering", "train"]
        rank = [sys.executable, str(_HERE / "rank.py"), self.action, str(culprit)]
        return [sys.executable, str(_HERE.parent / "mpi" / "host.py"), *rank]

    @property
    def environ(self) -> dict[str, str]:
        """Variables that the command needs."""
        return {} if self.action is None else {"RANKS_REPORT_DONE": "1", "PYTHONPATH": str(_HERE.parent)}
