"""From SageMaker's strings to values: each SDK writes them in its own way."""

import ast
import json
import re
import warnings
from typing import Annotated, Literal, NoReturn

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from treering import tasks
from treering.spelling import nearest

_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 400  # characters: more than any float64 has, less than int() refuses
_ELSEWHERE = " (docs/hyperparameters.md lists them)"  # too many for a sentence
_OPENERS = ('"', "'", "[", "{", "(")


def decode(raw: str) -> object:
    """One hyperparameter's text as a value: a number, a boolean, None, a list, a mapping or a string.

    The encodings are those of the SageMaker Python SDK: version 2 writes Python's own texts (``True``,
    ``None``, ``{'a': 1}``, ``x``), its script mode JSON (``true``, ``null``, ``{"a": 1}``, ``"x"``),
    version 3 JSON with bare strings. What is none of these is a string, taken as it is but for blanks
    around it. Nothing is ever evaluated.
    """
    text = raw.strip()
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _LONGEST_NUMBER:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
    if not text.startswith(_OPENERS):
        return text
    value = _literal(text)
    return decode(value) if isinstance(value, str) and value != text else value


def _literal(text: str) -> object:
    """A JSON or Python literal, or the text itself where it is neither."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's opinion on odd escapes is no news to anybody
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # JSON has no NaN and no Infinity


def _flag(value: object) -> bool:
    if isinstance(value, int | float) and value in {0, 1}:
        return bool(value)
    raise PydanticCustomError("flag", "neither true nor false")


def _auto_or_flag(value: object) -> str:
    if isinstance(value, str) and value.lower() in {"auto", "true", "false"}:
        return value.lower()
    return str(_flag(value)).lower()


def _pieces(value: object) -> list[object]:
    """The elements of a list, or of text separated by commas."""
    if isinstance(value, str):
        return [decode(piece) for piece in value.strip("[]() ").split(",") if piece.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _names(value: object) -> tuple[str, ...]:
    pieces = _pieces(value)
    names = [piece.strip() for piece in pieces if isinstance(piece, str)]
    if not names or len(names) < len(pieces):
        raise PydanticCustomError("names", "no list of names")
    return tuple(dict.fromkeys(names))


def _metrics(value: object) -> tuple[str, ...]:
    names = _names(value)
    unknown = [name for name in names if not tasks.is_metric(name)]
    if unknown:
        raise ValueError(
            " and ".join(f"unknown metric {name!r}{_hint(tasks.base_name(name))}" for name in unknown)
        )
    return names


def _hint(name: str) -> str:
    if name in tasks.SUFFIX_TEXTS:
        return f" (allowed: {tasks.SUFFIX_TEXTS[name].replace('`', '')})"
    if name in tasks.METRICS:
        return f" ({name} takes nothing after its name)"
    return nearest(name, tasks.METRICS) or _ELSEWHERE


def _tuning_metric(value: object) -> object:
    """``validation:auc`` names a channel, which may be left out, and a metric."""
    if not isinstance(value, str):
        return value
    channel, _, metric = value.rpartition(":")
    if channel not in {"", "train", "validation"}:
        raise ValueError(f"unknown channel {channel!r} (allowed: validation, train)")
    metrics = _metrics(metric)
    if len(metrics) > 1:
        raise ValueError(f"a tuning job has one metric, not {len(metrics)}")
    return f"{channel}:{metrics[0]}" if channel else metrics[0]


def _objective(value: object) -> object:
    if not isinstance(value, str):
        return value
    value = tasks.RENAMED_OBJECTIVES.get(value, value)
    if value not in tasks.OBJECTIVES:
        raise ValueError(f"unknown objective {value!r}{nearest(value, tasks.OBJECTIVES) or _ELSEWHERE}")
    return value


def numbers(value: object) -> tuple[float, ...]:
    """A list of numbers, or text with numbers separated by commas; raises pydantic's error otherwise."""
    pieces = _pieces(value)
    found = [piece for piece in pieces if isinstance(piece, int | float) and not isinstance(piece, bool)]
    if not found or len(found) < len(pieces):
        raise PydanticCustomError("numbers", "no list of numbers")
    return tuple(found)


def _levels(value: object) -> tuple[float, ...]:
    """Quantiles or expectiles: numbers from 0 to 1 in ascending order, as XGBoost demands."""
    levels = numbers(value)
    if not all(0 <= level <= 1 for level in levels) or tuple(sorted(set(levels))) != levels:
        raise PydanticCustomError("levels", "out of range or order")
    return levels


def _one_or_more(value: object) -> float | tuple[float, ...]:
    found = numbers(value)
    return found[0] if len(found) == 1 else found


def _column(value: object) -> str:
    """A column's name, or its number as text."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("column", "neither a name nor a number")
    return value


def _columns(value: object) -> tuple[str, ...]:
    pieces = [piece.strip() if isinstance(piece, str) else piece for piece in _pieces(value)]
    if not pieces:
        raise PydanticCustomError("columns", "no list of columns")
    return tuple(map(_column, pieces))


Flag = Annotated[bool, BeforeValidator(_flag)]
AutoOrFlag = Annotated[Literal["auto", "true", "false"], BeforeValidator(_auto_or_flag)]
Integer = Annotated[int, Field(le=2**31 - 1)]  # what XGBoost's own integers hold
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Metrics = Annotated[tuple[str, ...], BeforeValidator(_metrics)]
TuningMetric = Annotated[str, BeforeValidator(_tuning_metric)]
ObjectiveName = Annotated[str, BeforeValidator(_objective)]
Levels = Annotated[tuple[float, ...], BeforeValidator(_levels)]
Column = Annotated[str, BeforeValidator(_column)]
ColumnNames = Annotated[tuple[str, ...], BeforeValidator(_columns)]
OneOrMore = Annotated[float | tuple[float, ...], BeforeValidator(_one_or_more)]
