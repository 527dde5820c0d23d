"""Every path that SageMaker promises, in one place, under a root that tests and local runs may move."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

BASE_VARIABLE = "SAGEMAKER_BASE_DIR"


@dataclasses.dataclass(frozen=True, slots=True)
class Paths:
    """The ``/opt/ml`` tree of one host."""

    base: Path = Path("/opt/ml")

    @classmethod
    def from_environment(cls) -> Paths:
        """The tree that ``SAGEMAKER_BASE_DIR`` names, else ``/opt/ml``."""
        return cls(Path(os.environ.get(BASE_VARIABLE, "/opt/ml")))

    @property
    def config(self) -> Path:
        """Folder of the platform's JSON files."""
        return self.base / "input" / "config"

    @property
    def hyperparameters(self) -> Path:
        """``hyperparameters.json``: every value a string."""
        return self.config / "hyperparameters.json"

    @property
    def resource_config(self) -> Path:
        """``resourceconfig.json``: the hosts and who this one is."""
        return self.config / "resourceconfig.json"

    @property
    def input_data_config(self) -> Path:
        """``inputdataconfig.json``: the channels and how they are distributed."""
        return self.config / "inputdataconfig.json"

    @property
    def checkpoint_config(self) -> Path:
        """``checkpointconfig.json``: where checkpoints go, when the job asked for them."""
        return self.config / "checkpointconfig.json"

    def channel(self, name: str) -> Path:
        """Folder of one channel's files."""
        return self.base / "input" / "data" / name

    @property
    def model(self) -> Path:
        """Folder that becomes ``model.tar.gz``; only rank 0 writes to it."""
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        """Folder that becomes ``output.tar.gz``; only rank 0 writes to it."""
        return self.base / "output" / "data"

    @property
    def failure(self) -> Path:
        """The file whose first 1,024 characters become the job's ``FailureReason``."""
        return self.base / "output" / "failure"
