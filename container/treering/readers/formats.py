"""Which reader a channel gets: by its content type, else by the names of its files."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from treering.errors import UserError
from treering.readers.csv import CsvReader
from treering.readers.libsvm import LibsvmReader
from treering.readers.parquet import ParquetReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from treering.readers.batch import Reader

type Format = Literal["csv", "libsvm", "parquet"]

CONTENT_TYPES: dict[str, Format] = {
    "csv": "csv",
    "text/csv": "csv",
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
}
"""Content types in lower case and without parameters."""

_EXTENSIONS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".svmlight": "libsvm",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_TRUTH = {"true": True, "present": True, "1": True, "false": False, "absent": False, "0": False}
_CSV_PARAMETERS = {"label_size", "header"}


def reader_for(
    content_type: str | None,
    files: Sequence[str],
    *,
    csv_weights: bool = False,
    label: str | None = None,
    weight: str | None = None,
) -> Reader:
    """The reader of one channel.

    Parameters
    ----------
    content_type
        As the job states it, in any case and with parameters (``text/csv; label_size=1; header=true``).
        None or blank: what the files' extensions say where all agree, else LIBSVM, AWS's default.
    files
        Names of the channel's files.
    csv_weights
        Whether column 1 of CSV is the weight.
    label, weight
        Names of a Parquet file's columns; by default the first is the label, and none the weight.

    Raises
    ------
    UserError
        The content type or one of its parameters is unknown.
    """
    kind, parameters = _parse(content_type or "")
    match kind or _by_extension(files):
        case "csv":
            header = _csv_header(content_type or "", parameters)
            return CsvReader(weights=csv_weights, header=header)
        case "parquet":
            return ParquetReader(label=label, weight=weight)
        case _:
            return LibsvmReader()


def _parse(content_type: str) -> tuple[Format | None, dict[str, str]]:
    """The format and the parameters that a content type names; no format if it is blank."""
    name, *rest = (part.strip().lower() for part in content_type.split(";"))
    if not name and not rest:
        return None, {}
    if name not in CONTENT_TYPES:
        raise UserError(f"content type {content_type!r} is unknown; valid are {', '.join(CONTENT_TYPES)}")
    kind = CONTENT_TYPES[name]
    known = {"charset"} | (_CSV_PARAMETERS if kind == "csv" else set())
    parameters = {}
    for part in filter(None, rest):
        key, _, value = (piece.strip(" \t\"'") for piece in part.partition("="))
        if key not in known:
            raise UserError(
                f"content type {content_type!r}: parameter {key!r} is unknown; {name} takes {', '.join(sorted(known))}"
            )
        parameters[key] = value
    if parameters.get("charset", "utf-8") not in {"utf-8", "utf8", "us-ascii", "ascii"}:
        raise UserError(f"content type {content_type!r}: only charset=utf-8 can be read; convert the files")
    return kind, parameters


def _csv_header(content_type: str, parameters: dict[str, str]) -> bool:
    """Whether the content type says that files have a header; raises UserError for a value it cannot take."""
    if parameters.get("label_size", "1") != "1":
        raise UserError(
            f"content type {content_type!r}: label_size has to be 1, the label being the first column"
        )
    header = parameters.get("header", "false")
    if header not in _TRUTH:
        raise UserError(f"content type {content_type!r}: header has to be true or false")
    return _TRUTH[header]


def _by_extension(files: Sequence[str]) -> Format:
    found = {_EXTENSIONS.get(PurePosixPath(name).suffix.lower()) for name in files}
    return found.pop() or "libsvm" if len(found) == 1 else "libsvm"
