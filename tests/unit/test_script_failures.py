"""`treering.script.failures`: the user's own line first, and every exception as what it is."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest

from treering.errors import PeerLostError, PlatformError, RingError, ScriptError, UserError
from treering.script import failures

if TYPE_CHECKING:
    from pathlib import Path


def _raised(folder: Path, text: str, name: str = "train.py") -> BaseException:
    """What running `text` as a file of the user's raises."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    names = {"UserError": UserError, "PlatformError": PlatformError, "PeerLostError": PeerLostError}
    try:
        exec(compile(text, folder / name, "exec"), {**names, "RingError": RingError})  # noqa: S102  # the test's own
    except BaseException as error:  # noqa: BLE001  # any
        return error
    raise AssertionError("nothing was raised")


def test_the_innermost_line_of_the_user_is_named(tmp_path: Path) -> None:
    """Not the library's where it was raised; below the folder, by its path."""
    (tmp_path / "src").mkdir()
    error = _raised(tmp_path, "import json\ndef read():\n    json.loads('{')\nread()\n", "src/train.py")
    told = failures.told(error, tmp_path)
    assert isinstance(told, ScriptError)
    assert str(told).startswith("src/train.py, line 3: json.decoder.JSONDecodeError: Expecting property name")
    assert told.details.startswith("Traceback (most recent call last):\n")
    assert "test_script_failures" not in told.details
    assert "in loads" in told.details


def test_packages_beside_the_script_are_not_the_users(tmp_path: Path) -> None:
    """What was installed lies below the code in some layouts."""
    error = _raised(tmp_path / "venv", "1 / 0\n")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    other = _raised(packages, "1 / 0\n")
    assert str(failures.told(error, tmp_path)) == "venv/train.py, line 1: ZeroDivisionError: division by zero"
    assert str(failures.told(other, tmp_path)) == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("line", "kind", "sentence"),
    [
        ("raise UserError('no rows')", UserError, "train.py, line 1: no rows"),
        ("raise PlatformError('disk full')", PlatformError, "train.py, line 1: disk full"),
        ("raise PeerLostError('gone')", PeerLostError, "gone"),
        ("raise RingError('gone')", RingError, "gone"),
        ("raise MemoryError('8 GB')", MemoryError, "8 GB"),
        ("raise SystemExit(2)", ScriptError, "train.py, line 1: the script ended with exit code 2"),
        ("raise SystemExit('why')", ScriptError, "train.py, line 1: why"),
        ("raise KeyboardInterrupt", ScriptError, "train.py, line 1: KeyboardInterrupt"),
        ("raise ValueError('one\\ntwo')", ScriptError, "train.py, line 1: ValueError: one"),
        ("exec('(')", ScriptError, "train.py, line 1: SyntaxError: '(' was never closed"),
        (
            "raise ExceptionGroup('both', [ValueError('a'), ValueError('b')])",
            ScriptError,
            "train.py, line 1: ExceptionGroup: both (2 sub-exceptions)",
        ),
        (
            "import nowhere_at_all",
            ScriptError,
            "train.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'; list it in requirements.txt",
        ),
    ],
)
def test_every_exception_is_told_as_what_it_is(
    tmp_path: Path, line: str, kind: type[BaseException], sentence: str
) -> None:
    """Mistakes stay mistakes, effects stay effects, all else is the script's failure; one line each."""
    told = failures.told(_raised(tmp_path, line), tmp_path)
    assert type(told) is kind
    assert str(told).startswith(sentence)
    assert "\n" not in str(told)


def test_an_exception_that_cannot_be_printed_is_told(tmp_path: Path) -> None:
    """Its class says something."""
    text = "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd\n"
    assert str(failures.told(_raised(tmp_path, text), tmp_path)).startswith("train.py, line 3: ")


def test_a_note_and_a_cause_are_in_the_details(tmp_path: Path) -> None:
    """The whole story, below the sentence."""
    text = (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
        "    other = ValueError('bad')\n    other.add_note('look there')\n    raise other from error\n"
    )
    told = failures.told(_raised(tmp_path, text), tmp_path)
    assert isinstance(told, ScriptError)
    assert str(told) == "train.py, line 6: ValueError: bad"
    assert "ZeroDivisionError" in told.details
    assert "look there" in told.details


def test_a_file_that_cannot_be_parsed_is_a_mistake(tmp_path: Path) -> None:
    """With its own line, not that of the import."""
    error = SyntaxError("invalid syntax", (str(tmp_path / "near.py"), 7, 1, "x x", 7, 2))
    told = failures.told(error, tmp_path)
    assert isinstance(told, UserError)
    assert str(told) == "near.py, line 7: invalid syntax"
    elsewhere = failures.told(SyntaxError("invalid syntax", ("/lib/x.py", 7, 1, "x x", 7, 2)), tmp_path)
    assert isinstance(elsewhere, ScriptError)
    assert traceback.format_exception_only(elsewhere)[-1].rstrip().endswith("SyntaxError: invalid syntax")
