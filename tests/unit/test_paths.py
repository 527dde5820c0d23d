"""`treering.paths`: the tree that SageMaker promises, wherever its root is."""

from __future__ import annotations

from pathlib import Path

import pytest

from treering.paths import Paths

_PROMISED = {
    "config": "input/config",
    "hyperparameters": "input/config/hyperparameters.json",
    "resource_config": "input/config/resourceconfig.json",
    "input_data_config": "input/config/inputdataconfig.json",
    "checkpoint_config": "input/config/checkpointconfig.json",
    "model": "model",
    "output_data": "output/data",
    "failure": "output/failure",
}


@pytest.mark.parametrize("base", ["/opt/ml", "/somewhere/else"])
@pytest.mark.parametrize("name", _PROMISED)
def test_every_path_lies_where_the_platform_puts_it(base: str, name: str) -> None:
    """Below the root, paths are those of SageMaker's documentation."""
    assert getattr(Paths(Path(base)), name) == Path(base, _PROMISED[name])


def test_a_channel_is_a_folder_of_the_input(tmp_path: Path) -> None:
    """A channel's folder carries its name."""
    assert Paths(tmp_path).channel("train") == tmp_path / "input" / "data" / "train"


def test_the_environment_moves_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SAGEMAKER_BASE_DIR is the root if it is set, else it is /opt/ml."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    assert Paths.from_environment() == Paths(tmp_path)
    monkeypatch.delenv("SAGEMAKER_BASE_DIR")
    assert Paths.from_environment() == Paths(Path("/opt/ml"))
