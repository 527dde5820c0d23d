"""Which reader a channel gets: by its content type, else by the names of its files."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from treering.errors import UserError
from treering.readers.compression import without_suffix
from treering.readers.csv import CsvReader
from treering.readers.libsvm import LibsvmReader
from treering.readers.parquet import ParquetReader
from treering.readers.roles import Roles

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
    roles: Roles = Roles(),  # noqa: B008  # it is immutable
) -> Reader:
    """The reader of one channel.

    Parameters
    ----------
    content_type
        As the job states it, in any case and with parameters (``text/csv; label_size=1; header=true``).
        None or blank: what the files' extensions say where all agree, else LIBSVM, AWS's default.
    files
        Names of the channel's files; ``.gz`` and ``.zst`` behind an extension do not count.
    csv_weights
        Whether column 1 of CSV is the weight.
    roles
        Columns of CSV and Parquet that are no features; by default the first is the label.

    Raises
    ------
    UserError
        The content type or one of its parameters is unknown, or `roles` and the format do not go together.
    """
    kind, parameters = _parse(content_type or "")
    match kind or _by_extension(files):
        case "csv":
            header = _csv_header(content_type or "", parameters)
            if csv_weights and roles.weight is not None and str(roles.weight) != "1":
                raise UserError(
                    f"csv_weights=1 takes the weight from column 1, but weight_column={roles.weight} names another; "
                    "give one of them"
                )
            return CsvReader(weights=csv_weights, header=header, roles=roles)
        case "parquet":
            return ParquetReader(roles=roles)
        case _:
            _require_no_roles(roles)
            return LibsvmReader()


def _require_no_roles(roles: Roles) -> None:
    """Refuse what LIBSVM text has no columns for."""
    named = [
        f"{field.name}_column"
        for field in dataclasses.fields(roles)
        if getattr(roles, field.name) is not None
    ]
    if named:
        raise UserError(
            f"{', '.join(named)} cannot be used with LIBSVM, whose rows say themselves what is what "
            "(label:weight qid:group index:value); leave it out, or set the channel's content type to text/csv or "
            "application/x-parquet"
        )


def _parse(content_type: str) -> tuple[Format | None, dict[str, str]]:
    """The format and the parameters that a content type names; no format if it is blank."""
    name, *rest = (part.strip().lower() for part in content_type.split(";"))
    if not name and not rest:
        return None, {}
    if "recordio" in name:
        raise UserError(f"content type {content_type!r} is not supported yet; convert the data to Parquet")
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
    found = {_EXTENSIONS.get(PurePosixPath(without_suffix(name)).suffix.lower()) for name in files}
    return found.pop() or "libsvm" if len(found) == 1 else "libsvm"
