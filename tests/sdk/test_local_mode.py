"""Local mode of both SDKs: models land where they look for them, mistakes fail the call with our sentence."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

import pytest
import xgboost
from sdk.conftest import ABALONE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker_engine import Ended as DockerEnded
    from sdk.conftest import Client, Ended

ROUNDS = 8
# As users write them; each SDK turns numbers into strings its own way.
HYPERPARAMETERS = {
    "objective": "reg:squarederror",
    "num_round": ROUNDS,
    "max_depth": 5,
    "eta": 0.2,
    "eval_metric": "rmse,mae",
}
TRAIN = {"train": ABALONE / "train", "validation": ABALONE / "validation"}


def check_trained(ended: Ended, hosts: int) -> bytes:
    """All hosts ended well and together, and the SDK holds a model that plain XGBoost loads."""
    assert ended.code == 0, ended.log
    assert list(ended.exits.values()) == ["0"] * hosts, ended.log
    model = ended.model
    booster = xgboost.Booster(model_file=bytearray(model))
    assert booster.num_boosted_rounds() == ROUNDS
    return model


def check_readable(folder: Path) -> None:
    """The containers' files belong to root; the user who called the SDK can read them all the same."""
    left = [path for path in folder.rglob("*") if path.is_dir() or path.name == "xgboost-model"]
    assert any(path.is_file() for path in left)
    for path in left:
        if not path.name.startswith("tmp"):  # v2's own, for its user alone
            wanted = 0o005 if path.is_dir() else 0o004
            assert stat.S_IMODE(path.stat().st_mode) & wanted == wanted, path


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    """The model of each job that ran so far."""
    return {}


@pytest.mark.parametrize(("hosts", "channel"), [(1, "training"), (2, "train")])
def test_trains(client: Client, hosts: int, channel: str, models: dict[str, bytes]) -> None:
    """One host or two, SDK v2 or v3, a channel of either name: a model, and the very same one each time."""
    channels = {channel: ABALONE / "train", "validation": ABALONE / "validation"}
    ended = client.run(hosts, channels, HYPERPARAMETERS)
    models[f"{client.version}, {hosts} host(s)"] = check_trained(ended, hosts)
    assert len(set(models.values())) == 1, sorted(models)
    # Each round is told once, however many hosts print.
    assert len(re.findall(r"\[0\]\ttrain-rmse:", ended.log)) == 1
    check_readable(ended.folder)


def test_clean_up_of_root_owned_files(docker: Callable[..., DockerEnded], image: str, tmp_path: Path) -> None:
    """SDK v3 runs chmod in the training image, without an entry point of its own, before it deletes."""
    (tmp_path / "left").touch(mode=0o600)
    ended = docker("run", "--rm", "--volume", f"{tmp_path}:/delete", image, "chmod", "-R", "777", "/delete")
    assert ended.code == 0, ended.log
    assert stat.S_IMODE((tmp_path / "left").stat().st_mode) == 0o777


def test_address_alone(sdk: Callable[[str], Client]) -> None:
    """``fit("file://…")``: SDK v2 calls the channel `training` and names no content type."""
    check_trained(sdk("v2").run(1, ABALONE / "train", HYPERPARAMETERS), 1)


def test_wrong_hyperparameter(client: Client) -> None:
    """The call raises, and what the user sees holds the sentence with the name that was meant."""
    ended = client.run(2, TRAIN, HYPERPARAMETERS | {"max_dept": 4})
    assert ended.code == 1, ended.log
    assert "RuntimeError: Failed to run" in ended.log
    sentences = re.findall(r"UserError: (.*)", ended.log)
    assert sentences, ended.log
    assert "max_dept" in sentences[0]
    assert "max_depth" in sentences[0]
    assert sorted(ended.exits.values()) == ["1", "1"], ended.log


def test_broken_data(client: Client, tmp_path: Path) -> None:
    """A file that cannot be read fails the call with its name and line, on both hosts."""
    data = tmp_path / "broken"
    data.mkdir()
    (data / "rows.libsvm").write_text("1 1:2\n1 1:two\n")
    ended = client.run(2, {"train": data}, HYPERPARAMETERS)
    assert ended.code == 1
    assert re.search(r"UserError: .*rows\.libsvm, line 2", ended.log), ended.log


def test_two_jobs_at_once(sdk: Callable[[str], Client]) -> None:
    """Local jobs share one network, in v3 host names too: each finds its own hosts, neither a stranger."""
    running = [sdk(version).start(2, TRAIN, HYPERPARAMETERS) for version in ("v3", "v3")]
    models = {check_trained(each.wait(), 2) for each in running}
    assert len(models) == 1
