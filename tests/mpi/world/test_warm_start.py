"""`treering.warm_start` over real ranks: one model for all, wherever it lies and however it is packed."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost as xgb

from treering import warm_start
from treering.errors import UserError
from treering.job import Channel

if TYPE_CHECKING:
    from pathlib import Path

    from treering.world import World

_CHANNEL = Channel("model")


def _model(rounds: int = 2) -> bytes:
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    booster = xgb.train({"verbosity": 0}, xgb.DMatrix(rows, rows[:, 0]), rounds)
    booster.set_attr(categories=json.dumps({"1": ["a", "b"]}))
    return bytes(booster.save_raw())


def _archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("_", "-"))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        {"xgboost-model": _model()},
        {"xgboost-model": _model(), "notes.txt": b"other"},
        {"some.ubj": _model()},
        {"model.tar.gz": _archive(xgboost_model=_model())},
        {"model.tar.gz": _archive(xgboost_model=_model(), more=b"other"), "readme": b""},
        {"xgboost-checkpoint.1": _model(), "xgboost-checkpoint.0": _model(1)},
    ],
    ids=",".join,
)
def test_the_model_is_found_and_sent_to_all(world: World, tmp_path: Path, files: dict[str, bytes]) -> None:
    """It need only lie on one host; a checkpoint folder gives its newest."""
    if world.rank == world.size - 1:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
    start = warm_start.read(world, _CHANNEL, tmp_path)
    assert start.booster.num_boosted_rounds() == 2
    assert start.categories == {1: ("a", "b")}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "channel model has no model: put xgboost-model or its model.tar.gz there"),
        (
            {"a.ubj": _model(), "b.ubj": _model()},
            "has no file called xgboost-model, or several: a.ubj, b.ubj",
        ),
        (
            {"a/xgboost-model": _model(), "xgboost-model": _model()},
            "or several: a/xgboost-model, xgboost-model",
        ),
        ({"model.tar.gz": b"no archive"}, "model.tar.gz is no archive that can be read"),
        (
            {"model.tar.gz": _archive(xgboost_model=_model())[:-40]},
            "model.tar.gz is no archive that can be read",
        ),
        ({"model.tar.gz": _archive()}, "has no file called xgboost-model, or several: nothing"),
        ({"xgboost-model": b"\x80\x04pickle"}, "xgboost-model in channel model is no model that XGBoost"),
    ],
    ids=str,
)
def test_what_cannot_be_gone_on_from_is_told(
    world: World, tmp_path: Path, files: dict[str, bytes], told: str
) -> None:
    """One sentence with the file, on every host that sees it."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told.replace("(", r"\(")):
        warm_start.read(world, _CHANNEL, tmp_path)
