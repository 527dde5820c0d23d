"""What every SDK writes into hyperparameters.json is read as the value that its user meant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.parameter_values import decode

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES: list[object] = [
    True,
    False,
    None,
    0,
    -7,
    0.1,
    1e-05,
    "binary:logistic",
    "rmse,mae",
    [1, 0, -1],
    [[0, 2], [1]],
    ["rmse", "mae"],
    {"age": 1, "income": -1},
    {"a": [1, {"b": None}]},
]


def _bare_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


SDKS: list[Callable[[object], str]] = [str, json.dumps, _bare_json]


@pytest.mark.parametrize("encode", SDKS, ids=["v2", "v2-script-mode", "v3"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_each_sdk_is_understood(value: object, encode: Callable[[object], str]) -> None:
    """A value reads the same, type included, whichever SDK wrote it."""
    found = decode(encode(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1,0,-1)", (1, 0, -1)),
        ('"(1,0,-1)"', (1, 0, -1)),
        ('"5"', 5),
        ("'x'", "x"),
        ('"true"', True),
        ("  hist ", "hist"),
        (".5", 0.5),
        ("5.", 5.0),
        ("+3", 3),
        ("1E3", 1000.0),
        ("", ""),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("nan", "nan"),
        ("Infinity", "Infinity"),
        ("[NaN]", "[NaN]"),
        ("1j", "1j"),
        ("...", "..."),
        ("[1, 2", "[1, 2"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("(lambda: 1)()", "(lambda: 1)()"),
        ("[1 for i in (1, 2)]", "[1 for i in (1, 2)]"),
        ("{[1]: 2}", "{[1]: 2}"),
        (r"'\d'", r"\d"),
        ("9" * 2500, "9" * 2500),
        ("[" * 2500, "[" * 2500),
    ],
)
def test_odd_texts(text: str, value: object) -> None:
    """Tuples and quoted values are unwrapped, and what is no literal stays the text it is: no code runs."""
    found = decode(text)
    assert found == value
    assert type(found) is type(value)


@given(st.text(max_size=200) | st.text(alphabet="[](){}'\",:0123456789eE+-. TrueNon\\", max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    """Any text is a value or itself, never an exception."""
    decode(text)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_structures_survive(value: object) -> None:
    """Whatever JSON and Python can both write is read back equal from either."""
    assert decode(json.dumps(value)) == value
    assert decode(repr(value)) == value
