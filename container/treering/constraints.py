"""Constraints on features and their weights, given by column number or by name, as the column numbers XGBoost takes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from treering.errors import UserError
from treering.parameter_values import decode, numbers
from treering.spelling import nearest

_DIRECTIONS = (-1, 0, 1)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _monotone(value: object) -> tuple[int, ...] | dict[str, int]:
    """``(1,0,-1)``, ``[1, 0, -1]``, ``1,0,-1`` or ``{"age": 1}``."""
    if isinstance(value, str):
        value = [decode(piece) for piece in value.split(",")]
    if isinstance(value, Mapping):
        return dict(zip(map(str, value), _directions([*value.values()]), strict=True))
    return _directions(value if isinstance(value, list | tuple) else [value])


def _directions(values: Sequence[object]) -> tuple[int, ...]:
    if not values or not all(_is_whole(value) and value in _DIRECTIONS for value in values):
        raise PydanticCustomError("directions", "no list of -1, 0 and 1")
    return tuple(value for value in values if isinstance(value, int))


def _interaction(value: object) -> tuple[tuple[object, ...], ...]:
    """``[[0, 2], [1, 3, 4]]`` or ``[["age", "income"]]``."""
    groups = [tuple(group) for group in _listed(value) if _listed(group)]
    members = [member for group in groups for member in group]
    if not groups or len(groups) < len(_listed(value)) or not all(map(_is_column, members)):
        raise PydanticCustomError("groups", "no list of lists of columns")
    return tuple(groups)


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _is_column(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _feature_weights(value: object) -> tuple[float, ...] | dict[str, float]:
    """``[1, 2, 0.5]``, ``1,2,0.5`` or ``{"age": 2}``."""
    given = numbers([*value.values()] if isinstance(value, Mapping) else value)
    if min(given) < 0 or (not any(given) and not isinstance(value, Mapping)):
        raise PydanticCustomError("weights", "no list of weights")
    return dict(zip(map(str, value), given, strict=True)) if isinstance(value, Mapping) else given


FeatureWeights = Annotated[tuple[float, ...] | dict[str, float], BeforeValidator(_feature_weights)]
Monotone = Annotated[tuple[int, ...] | dict[str, int], BeforeValidator(_monotone)]
Interaction = Annotated[tuple[tuple[int | str, ...], ...], BeforeValidator(_interaction)]


def monotone_text(
    value: tuple[int, ...] | Mapping[str, int], columns: int, names: Sequence[str] | None
) -> str:
    """XGBoost's form of monotone constraints, for data with `columns` columns called `names`.

    Raises
    ------
    UserError
        When more columns are constrained than there are, or a name is not among them: XGBoost would
        refuse the one in its own words and, loaded without names, ignore the other.
    """
    if isinstance(value, Mapping):
        directions = [0] * columns
        for name, direction in value.items():
            directions[_position("monotone_constraints", name, columns, names)] = direction
    else:
        directions = list(value)
        if len(directions) > columns:
            raise UserError(
                f"monotone_constraints has {len(directions)} entries, but the data has {columns} columns"
            )
    return "(" + ",".join(map(str, directions)) + ")"


def interaction_text(groups: Iterable[Iterable[int | str]], columns: int, names: Sequence[str] | None) -> str:
    """XGBoost's form of interaction constraints; XGBoost itself lets columns pass that do not exist.

    Raises
    ------
    UserError
        When a column's number or name is not among the data's.
    """
    return json.dumps(
        [[_position("interaction_constraints", one, columns, names) for one in group] for group in groups]
    )


def feature_weights(
    value: tuple[float, ...] | Mapping[str, float], columns: int, names: Sequence[str] | None
) -> list[float]:
    """The weight of each of the data's `columns`, called `names`; 1 where a mapping has none.

    Raises
    ------
    UserError
        When there is not one weight for each column, or a name is not among them.
    """
    if isinstance(value, Mapping):
        weights = [1.0] * columns
        for name, weight in value.items():
            weights[_position("feature_weights", name, columns, names)] = weight
        return weights
    if len(value) != columns:
        raise UserError(f"feature_weights has {len(value)} entries, but the data has {columns} columns")
    return list(value)


def _position(parameter: str, column: int | str, columns: int, names: Sequence[str] | None) -> int:
    """Where `column` stands, from 0; a name that looks like a number is a name first."""
    if isinstance(column, str) and column in (names or ()):
        return list(names or ()).index(column)
    number = int(column) if isinstance(column, int) or column.isdecimal() else -1
    if 0 <= number < columns:
        return number
    if isinstance(column, int) or column.isdecimal():
        raise UserError(f"{parameter} names column {column}, but the data's columns are 0 to {columns - 1}")
    known = "the data's columns have no names" if names is None else "the data has no such column"
    raise UserError(f"{parameter} names column {column!r}, but {known}{nearest(column, names or ())}")
