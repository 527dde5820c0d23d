"""Predictions for files, read by the readers of training: what they see here is what the model was fed.

Whatever else serves the model can be held against this output: where the two differ, one of them reads the
data in another way than training did.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb
from scipy import sparse

from treering import artifacts, categories, channels, inputs, model_file
from treering.errors import PlatformError, UserError
from treering.hyperparameters import Hyperparameters
from treering.readers import formats
from treering.readers.batch import File, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

    from numpy.typing import NDArray

    from treering.categories import Categories
    from treering.readers.batch import Batch, Columns, Reader

_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_EXACT = "%.9g"  # digits that tell any two float32 apart

log = logging.getLogger(__name__)


def load(path: Path) -> xgb.Booster:
    """The model in a file, in a ``model.tar.gz`` as SageMaker keeps it, or in a folder as ``xgboost-model``.

    Raises
    ------
    UserError
        When there is none, or XGBoost cannot load it.
    """
    if path.is_dir():
        path /= artifacts.MODEL_NAME
    try:
        content = _unpacked(path) if path.name.endswith(_ARCHIVES) else path.read_bytes()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UserError(f"the model {path} cannot be read: {_said(error)}") from error
    return model_file.read(content, str(path))


def _unpacked(path: Path) -> bytes:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and Path(member.name).name == artifacts.MODEL_NAME:
                file = archive.extractfile(member)
                return file.read() if file else b""
    raise UserError(f"{path} has no file called {artifacts.MODEL_NAME}")


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]


def predict(
    booster: xgb.Booster,
    data: Path,
    content_type: str | None,
    hyperparameters: Mapping[str, object],
    threads: int,
) -> Iterator[NDArray[np.float32]]:
    """The predictions for all rows of a file or folder, in the order of the files' names.

    Parameters
    ----------
    booster
        From `load`.
    data
        Laid out as for training: a label that is not looked at, the features, and what else the job has.
    content_type
        As in the job.
    hyperparameters
        Those of the job, of which the ones about columns count.
    threads
        For XGBoost.

    Yields
    ------
    NDArray
        float32, shape (rows,) or (rows, outputs), for some rows at a time.

    Raises
    ------
    UserError
        When the data cannot be read, or has other columns than the model.
    """
    chosen = Hyperparameters.parse({"num_round": "1"} | dict(hyperparameters))
    files = _files(data)
    reader = formats.reader_for(
        content_type,
        [file.name for file in files],
        csv_weights=chosen.csv_weights,
        roles=inputs.roles(chosen),
    )
    stored = json.loads(booster.attr("categories") or "{}")
    known: Categories = {int(column): tuple(names) for column, names in stored.items()}
    booster.set_param({"nthread": threads})
    lost: dict[int, int] = {}
    for file in files:
        columns = reader.columns(file)
        _check_columns(booster, columns, known, file)
        for batch in reader.read(Span(file, 0, reader.extent(file))):
            yield _scored(booster, batch, reader, known, file, lost)
    for column, rows in lost.items():
        name = (booster.feature_names or {column: f"column {column}"})[column]
        log.warning("%d row(s) have a category of %s that training had not; it counts as missing", rows, name)


def _files(data: Path) -> list[File]:
    if data.is_dir():
        files = [
            File(data / each.name, each.name, position, each.size, each.modified)
            for position, each in enumerate(channels.look(data))
        ]
    elif data.exists():
        files = [File(data, data.name, 0, data.stat().st_size)]
    else:
        raise UserError(f"{data} does not exist")
    if not files:
        raise UserError(f"{data} has no data files (names that begin with . or _ do not count)")
    return files


def _check_columns(booster: xgb.Booster, columns: Columns, known: Categories, file: File) -> None:
    """Raise UserError when a file's columns are not those of the model; LIBSVM tells them row by row."""
    if not columns.count:
        return
    wanted = booster.num_features()
    if columns.count != wanted:
        hint = "; the label is expected too, whatever it says" if columns.count == wanted - 1 else ""
        raise UserError(
            f"{file.name} has {columns.count} feature columns, but the model was trained on {wanted}{hint}"
        )
    names = booster.feature_names
    if names and columns.names and tuple(names) != columns.names:
        place = next(at for at, name in enumerate(columns.names) if name != names[at])
        raise UserError(
            f"{file.name}: feature {place + 1} is {columns.names[place]!r}, but the model was trained on "
            f"{names[place]!r} there; give the columns in the order of training"
        )
    apart = sorted(set(columns.categorical) ^ known.keys())
    if apart:
        kinds = ("categories", "numbers") if apart[0] in columns.categorical else ("numbers", "categories")
        raise UserError(
            f"{file.name}: column {columns.name(apart[0])} holds {kinds[0]}, but held {kinds[1]} in training"
        )


def _scored(
    booster: xgb.Booster, batch: Batch, reader: Reader, known: Categories, file: File, lost: dict[int, int]
) -> NDArray[np.float32]:
    features = batch.features
    if sparse.issparse(features):
        features = _widened(sparse.csr_array(features), booster.num_features(), file)
    else:
        for column, rows in categories.recode(features, reader.categories(), known).items():
            lost[column] = lost.get(column, 0) + rows
    matrix = xgb.DMatrix(
        features,
        base_margin=batch.base_margin,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
    )
    found: NDArray[np.float32] = booster.predict(matrix)
    return found


def _widened(rows: sparse.csr_array, width: int, file: File) -> sparse.csr_array:
    if rows.shape[1] > width:
        raise UserError(
            f"{file.name} has a feature {rows.shape[1] - 1}, but the model was trained on {width} columns, numbered from 0"
        )
    return sparse.csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], width))


@contextlib.contextmanager
def output(path: Path | None) -> Iterator[TextIO]:
    """Where predictions go: stdout, or a file that is whole or not there at all."""
    if path is None:
        yield sys.stdout
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            with temporary.open("x") as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise PlatformError(f"cannot write {path}: {_said(error)}") from error


def write(predictions: Iterator[NDArray[np.float32]], target: TextIO) -> int:
    """Write one line a row, several outputs with commas in between; returns the number of rows."""
    rows = 0
    for part in predictions:
        np.savetxt(target, part, fmt=_EXACT, delimiter=",")
        rows += part.shape[0]
    return rows
