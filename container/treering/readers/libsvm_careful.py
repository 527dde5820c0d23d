"""LIBSVM row by row: slow, and exact about what is wrong where; the counterpart of `csv_careful`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from treering.errors import UserError
from treering.readers import cells
from treering.readers.libsvm_rows import LARGEST_INDEX, Rows
from treering.readers.rules import FEATURE, LABEL, WEIGHT

if TYPE_CHECKING:
    from treering.readers.lines import Block

_COLON = re.compile(rb"[ \t]*:[ \t]*")
_DIGITS = re.compile(r"[0-9]+")
_LARGEST_GROUP = 2**63 - 1


def tokens(line: bytes) -> list[str]:
    """What stands between blanks before any comment."""
    return [token.decode("utf-8", "replace") for token in _COLON.sub(b":", line.partition(b"#")[0]).split()]


def parse(block: Block, *, grouped: bool) -> Rows:
    """The block's rows; `grouped` says whether the file's first row has a ``qid``.

    Raises
    ------
    UserError
        For the first row that cannot be trained on, with file, line and what stands there.
    """
    lines = enumerate(map(tokens, block.data.split(b"\n")))
    rows = [_Row(block, line, found, grouped=grouped) for line, found in lines if found]
    weights = [row.weight for row in rows]
    return Rows(
        cells.to_float32([row.label for row in rows]),
        cells.to_float32([weight or "1" for weight in weights]) if any(weights) else None,
        np.array([row.group for row in rows], np.int64) if grouped else None,
        np.repeat(np.arange(len(rows)), [len(row.indices) for row in rows]),
        np.array([index for row in rows for index in row.indices], np.int64),
        cells.to_float32([value for row in rows for value in row.values]),
    )


class _Row:
    """One row, checked as it is taken apart."""

    def __init__(self, block: Block, line: int, found: list[str], *, grouped: bool) -> None:
        self._block = block
        self._line = line
        self.label, colon, self.weight = found[0].partition(":")
        self._check_label(found)
        if colon:
            self._check_weight()
        self.group: int | None = None
        self.indices: list[int] = []
        self.values: list[str] = []
        for token in found[1:]:
            self._add(token)
        if (self.group is not None) != grouped:
            raise self._mistake(
                "this row has no qid, but the file's first row has one; rows of a file have it all or none"
                if grouped
                else "this row has a qid, but the file's first row has none; rows of a file have it all or none"
            )
        if len(set(self.indices)) < len(self.indices):
            twice = next(index for index in self.indices if self.indices.count(index) > 1)
            raise self._mistake(f"index {twice} stands twice in this row; each index may stand once")

    def _mistake(self, sentence: str) -> UserError:
        return UserError(f"{self._block.place(self._line)}: {sentence}")

    def _check_label(self, found: list[str]) -> None:
        shown = cells.shown(self.label)
        if not cells.is_number(self.label) and "," in found[0]:
            raise self._mistake(
                f"{shown} looks like CSV, not LIBSVM; set the channel's content type to text/csv"
            )
        if not _finite(self.label):
            raise self._mistake(f"{LABEL.sentence} (found {shown})")

    def _check_weight(self) -> None:
        if not _finite(self.weight) or float(self.weight) < 0:
            raise self._mistake(f"{WEIGHT.sentence} (found {cells.shown(self.weight)})")

    def _add(self, token: str) -> None:
        index, colon, value = token.partition(":")
        if not colon:
            raise self._mistake(
                f"{cells.shown(token)} is not of the form index:value; if this is CSV, set the channel's content type to text/csv"
            )
        if index == "qid":
            self._set_group(value)
            return
        if not _DIGITS.fullmatch(index):
            raise self._mistake(
                f"{cells.shown(token)} has no valid index; it has to be a whole number from 0 to {LARGEST_INDEX:,}"
            )
        if _number(index) > LARGEST_INDEX:
            raise self._mistake(
                f"the index of {cells.shown(token)} is above {LARGEST_INDEX:,}; all columns up to the largest index "
                "cost memory, also where no row has a value, so number the features without such gaps"
            )
        if not (_finite(value) or (value and cells.is_missing(value))):
            if cells.has_comma(value):
                raise self._mistake(
                    f"{cells.shown(token)} has a comma; write numbers with a decimal point and without any comma"
                )
            raise self._mistake(f"{FEATURE.sentence} (found {cells.shown(token)})")
        self.indices.append(_number(index))
        self.values.append(value)

    def _set_group(self, value: str) -> None:
        if self.group is not None:
            raise self._mistake("qid stands twice in this row; a row belongs to one group")
        if not _DIGITS.fullmatch(value) or _number(value) > _LARGEST_GROUP:
            raise self._mistake(
                f"qid {cells.shown(value)} is not a whole number from 0 to {_LARGEST_GROUP:,}"
            )
        self.group = _number(value)


def _number(digits: str) -> int:
    """The value of some digits; of more than Python converts, one above any limit."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= len(str(_LARGEST_GROUP)) else _LARGEST_GROUP + 1


def _finite(text: str) -> bool:
    return cells.is_number(text) and math.isfinite(cells.to_float32([text])[0])
