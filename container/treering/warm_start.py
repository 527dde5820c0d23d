"""Training goes on from the model of an earlier job, given in the channel ``model``.

The old trees stay as they are. Their margins are predicted from the raw rows and become base margins, since
XGBoost mispredicts rows that are binned by other cuts than the model's own; the new trees are appended at the
end. Trained so, a model is that of XGBoost's ``xgb_model=`` wherever both use the same cuts.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from treering import artifacts, channels, model_file
from treering.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import xgboost as xgb
    from numpy.typing import NDArray

    from treering.categories import Categories
    from treering.hyperparameters import Hyperparameters
    from treering.job import Channel
    from treering.readers.batch import Columns
    from treering.shard import Shard
    from treering.world import World

_ROWS_AT_ONCE = 1 << 17  # bounds the copies that XGBoost makes of what it predicts
_CHECKPOINT = re.compile(r"xgboost-checkpoint\.(\d+)")
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


def read(world: World, channel: Channel, folder: Path) -> WarmStart:
    """The model in the channel's folder, equal on all ranks; collective.

    It need not be on every host: the first rank that has it sends it to all.

    Raises
    ------
    UserError
        When there is none, more than one to choose from, or it cannot be loaded.
    """
    name, content = _find(folder)
    names: list[str | None] = world.allgather(name)
    source = next((rank for rank, each in enumerate(names) if each is not None), None)
    if source is None:
        raise UserError(
            f"channel {channel.name} has no model: put {artifacts.MODEL_NAME} or its model.tar.gz there"
        )
    mine = content if world.rank == source else b""
    sent = world.allgather_arrays(np.frombuffer(mine, np.uint8))[source].tobytes()
    where = f"{names[source]} in channel {channel.name}"
    return WarmStart(model_file.read(sent, where), where)


def _find(folder: Path) -> tuple[str | None, bytes]:
    """Name and bytes of the model file below `folder`, also inside an archive; None where there is no file."""
    names = [name for name, _ in channels.list_files(folder)]
    if not names:
        return None, b""
    chosen = _choose(names, folder)
    content = (folder / chosen).read_bytes()
    if not chosen.endswith(_ARCHIVES):
        return chosen, content
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            inside = _choose([member.name for member in archive if member.isfile()], folder / chosen)
            file = archive.extractfile(inside)
            return chosen, file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{folder / chosen} is no archive that can be read: {error}") from error


def _choose(names: list[str], where: Path) -> str:
    """The model among the files of a folder or an archive: by its name, the newest checkpoint, or the only one."""
    by_name = [name for name in names if name.rpartition("/")[2] == artifacts.MODEL_NAME]
    archives = [name for name in names if name.endswith(_ARCHIVES)]
    checkpoints = [name for name in names if _CHECKPOINT.fullmatch(name.rpartition("/")[2])]
    if checkpoints and not by_name:
        return max(checkpoints, key=lambda name: int(name.rpartition(".")[2]))
    for candidates in (by_name, archives, names):
        if len(candidates) == 1:
            return candidates[0]
    shown = ", ".join(sorted(by_name or archives or names)[:3]) or "nothing"
    raise UserError(f"{where} has no file called {artifacts.MODEL_NAME}, or several: {shown}; leave one")


class WarmStart:
    """The model to go on from.

    Parameters
    ----------
    booster
        As loaded.
    where
        For messages: its file and channel.
    """

    def __init__(self, booster: xgb.Booster, where: str) -> None:
        self.booster = booster
        self.where = where

    @property
    def categories(self) -> Categories:
        """What the codes in its categorical columns stand for; empty where it was not told."""
        stored = json.loads(self.booster.attr("categories") or "{}")
        return {int(column): tuple(names) for column, names in stored.items()}

    @property
    def base_score(self) -> list[float]:
        """As XGBoost takes it: before the objective's transformation is undone, one for each output."""
        return model_file.base_score(self.booster)

    def check_task(self, chosen: Hyperparameters) -> None:
        """Raise UserError when the model was made for something else than the hyperparameters ask for."""
        found = model_file.kind(self.booster)
        wanted = {"objective": chosen.objective, "num_class": str(chosen.num_class or 0)}
        wanted["booster"] = "gblinear" if chosen.booster == "gblinear" else "gbtree"
        if chosen.booster != "gblinear":
            wanted["num_parallel_tree"] = str(chosen.num_parallel_tree or 1)
        for name, value in wanted.items():
            if found.get(name) != value:
                raise UserError(
                    f"{self.where} has {name}={found.get(name)}, but the hyperparameters say {name}={value}; a model "
                    "can only go on as what it is"
                )
        if found["outputs"] != str(chosen.outputs):
            raise UserError(
                f"{self.where} has {found['outputs']} output(s), but the hyperparameters ask for {chosen.outputs}; a "
                "model can only go on as what it is, so give as many levels of quantile_alpha or expectile_alpha as it "
                "has outputs"
            )
        rounds = self.booster.num_boosted_rounds()
        if chosen.algorithm == "update" and chosen.num_round > rounds:
            raise UserError(
                f"num_round={chosen.num_round}, but {self.where} has only {rounds} rounds to update"
            )

    def check_columns(self, columns: Columns) -> None:
        """Raise UserError when the training data has other columns than the model."""
        if self.booster.num_features() != columns.count:
            raise UserError(
                f"{self.where} has {self.booster.num_features()} columns, but the training data has {columns.count}"
            )
        names = self.booster.feature_names
        if names and columns.names and tuple(names) != columns.names:
            column = next(at for at, name in enumerate(columns.names) if name != names[at])
            raise UserError(
                f"column {column} is {names[column]!r} in {self.where}, but {columns.names[column]!r} in the training "
                "data; give the columns in the model's order"
            )

    def margins(self, shard: Shard) -> NDArray[np.float32]:
        """What the model says about the rows of `shard`, before the objective's transformation.

        Returns
        -------
        NDArray
            float32, shape (rows,) or (rows, outputs).
        """
        given, parts, start = shard.base_margin, [self._no_margins(shard.columns.count)], 0
        for features in shard.features.row_blocks(_ROWS_AT_ONCE):
            rows = slice(start, start + features.shape[0])
            # XGBoost 3.4.1 takes a sparse matrix here, but no sparse array.
            part = features if isinstance(features, np.ndarray) else sparse.csr_matrix(features)
            margin = None if given is None else given[rows]
            parts.append(
                self.booster.inplace_predict(
                    part, predict_type="margin", base_margin=margin, validate_features=False
                )
            )
            start = rows.stop
        return np.concatenate(parts)

    def _no_margins(self, columns: int) -> NDArray[np.float32]:
        """What no rows have; XGBoost predicts nothing for them, not even a shape."""
        one = np.full((1, columns), np.nan, np.float32)
        return np.asarray(self.booster.inplace_predict(one, predict_type="margin"))[:0]

    def extended(self, booster: xgb.Booster) -> xgb.Booster:
        """The model with the rounds of `booster` after its own."""
        return model_file.append(self.booster, booster)
