"""Which column plays which part: label, weight, query group and the like; all others are features."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from treering.errors import UserError
from treering.readers.rules import FEATURE, LABEL, MARGIN, UPPER, WEIGHT
from treering.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from treering.readers.rules import Rule

type Column = str | int

_NUMBER = re.compile(r"[0-9]+")
_SHOWN = 10  # columns named in a message


@dataclasses.dataclass(frozen=True, slots=True)
class Roles:
    """The columns that a job names, each by its name or by its number from 0; None where it names none.

    A text of digits is a number, unless a column has it as its name.

    Parameters
    ----------
    label
        By default the first column that no other role takes.
    label_upper
        Upper end of a label's interval (survival analysis), the label being its lower end.
    weight
        Weight of each row.
    group
        Query that a row belongs to (ranking).
    base_margin
        What boosting starts from; several columns, with commas in between, for several outputs.
    """

    label: Column | None = None
    label_upper: Column | None = None
    weight: Column | None = None
    group: Column | None = None
    base_margin: Column | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """The columns of one file by the part that they play, each by its position from 0.

    Parameters
    ----------
    label, label_upper, weight, group, base_margin
        As in `Roles`.
    features
        All others, in the order of the file.
    """

    label: int
    features: tuple[int, ...]
    label_upper: int | None = None
    weight: int | None = None
    group: int | None = None
    base_margin: tuple[int, ...] = ()

    def rule(self, column: int) -> Rule:
        """What holds for the numbers in `column`."""
        rules = {self.label: LABEL, self.label_upper: UPPER, self.weight: WEIGHT}
        return rules.get(column, MARGIN if column in self.base_margin else FEATURE)

    def role(self, column: int) -> str:
        """What `column` is for, in plain words."""
        fields = {
            "label": self.label,
            "label_upper": self.label_upper,
            "weight": self.weight,
            "group": self.group,
        }
        roles = {place: name for name, place in fields.items() if place is not None}
        return _said(roles.get(column, "base_margin" if column in self.base_margin else "feature"))


def needed(roles: Roles) -> list[str]:
    """What a file has to have columns for, the features last."""
    given = [field.name for field in dataclasses.fields(roles)[1:] if getattr(roles, field.name) is not None]
    return ["label", *map(_said, given), "features"]


def assign(roles: Roles, count: int, names: Sequence[str] | None, where: str) -> Parts:
    """Find the columns that `roles` asks for.

    Parameters
    ----------
    roles
        What the job names.
    count, names
        The file's columns, and their names if it has any.
    where
        How a message begins: the file, or the line of its header.

    Raises
    ------
    UserError
        A column is not there, plays two parts, or none is left for the label or as a feature.
    """
    taken: dict[int, str] = {}

    def take(role: str, column: Column) -> int:
        place = _find(role, column, count, names, where)
        if place in taken:
            raise UserError(
                f"{where}: {_named(place, names)} cannot be the {_said(taken[place])} and the {_said(role)}; "
                f"correct {taken[place]}_column or {role}_column"
            )
        taken[place] = role
        return place

    found = {
        role: take(role, column)
        for role in ("label", "label_upper", "weight", "group")
        if (column := getattr(roles, role)) is not None
    }
    margins = tuple(take("base_margin", column) for column in _several(roles.base_margin, names))
    if "label" not in found:
        found["label"] = take("label", next((place for place in range(count) if place not in taken), 0))
    features = tuple(place for place in range(count) if place not in taken)
    if not features:
        raise UserError(f"{where} has no feature column: it needs a label and at least one column besides")
    return Parts(features=features, base_margin=margins, **found)


def _several(columns: Column | None, names: Sequence[str] | None) -> list[Column]:
    if columns is None:
        return []
    if isinstance(columns, int) or (names is not None and columns in names):
        return [columns]
    return [column.strip() for column in columns.split(",")]


def _find(role: str, column: Column, count: int, names: Sequence[str] | None, where: str) -> int:
    """Position of the column that plays `role`."""
    if names is not None and column in names:
        if list(names).count(str(column)) > 1:
            raise UserError(f"{where}: several columns are named {column!r}; make column names unique")
        return list(names).index(str(column))
    if isinstance(column, int) or _NUMBER.fullmatch(column):
        if int(column) < count:
            return int(column)
        raise UserError(
            f"{where} has no column {column} for the {_said(role)}; its {count} columns are numbered from 0 "
            f"(hyperparameter {role}_column)"
        )
    if names is None:
        raise UserError(
            f"{where} has no header, so column {column!r} for the {_said(role)} cannot be found; give its number "
            "from 0, or say text/csv;header=true if there is one"
        )
    some = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    raise UserError(
        f"{where} has no column {column!r} for the {_said(role)}{nearest(column, names)}; its columns are {some}"
    )


def _said(role: str) -> str:
    """A role in plain words."""
    words = {"label_upper": "label's upper bound", "group": "query group", "base_margin": "base margin"}
    return words.get(role, role)


def _named(place: int, names: Sequence[str] | None) -> str:
    return f"column {place}" if names is None else f"column {names[place]!r}"
