"""What a person sees of a job on a terminal: a bar below whole lines, and nothing of it where there is none."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ABALONE = Path(__file__).parents[2] / "examples" / "abalone"
_ERASE = "\r\x1b[K"
_LINE = re.compile(r"\[\d+\]\ttrain-rmse:\d+\.\d{5}|\d\d:\d\d:\d\d algo-1 .+|model: .+")


def _command(out: Path, hosts: int) -> list[str]:
    return [
        *(sys.executable, "-m", "treering", "local", f"--hosts={hosts}", f"--output={out}"),
        *(f"--channel=train={_ABALONE / 'train'}", "--content-type=text/libsvm", "--threads-per-host=1"),
        *("--hp=objective=reg:squarederror", "--hp=num_round=200", "--hp=max_depth=6"),
    ]


def _environ() -> dict[str, str]:
    """A supervisor looks at its ranks often, so that even a short phase is seen."""
    return os.environ | {"TREERING_HEARTBEAT_INTERVAL": "0.05", "TERM": "xterm"}


def _read(terminal: int) -> str:
    """All that is written to a terminal until the last process that holds it is gone."""
    parts = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux ends a terminal
            break
        if not part:
            break
        parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_terminal_has_a_bar_below_whole_lines(tmp_path: Path, hosts: int) -> None:
    """The bar is drawn and erased in between; when the job is over, the log is all there is."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        _command(tmp_path / "out", hosts), stdout=theirs, stderr=theirs, env=_environ()
    )
    os.close(theirs)
    shown = _read(ours)
    assert process.wait(60) == 0, shown
    lines = [line.rpartition(_ERASE)[2] for line in shown.split("\n")]
    assert lines.pop() == ""
    assert not [line for line in lines if not _LINE.fullmatch(line)]
    assert sum(line.startswith("[") for line in lines) == 200
    bars = [part.partition("\n")[0] for part in shown.split(_ERASE)[1:] if part.startswith("training [")]
    assert any(
        re.fullmatch(r"training \[[#.]{30}\] \d+%(, [\d.,]+ rounds/s, \d+ s left)?", bar) for bar in bars
    )
    kept = (tmp_path / "out" / "logs" / "algo-1.log").read_text()
    assert "\x1b" not in kept
    assert kept.splitlines() == [line for line in lines if not line.startswith("model: ")]


def test_the_bar_goes_to_the_terminal_alone(tmp_path: Path) -> None:
    """With the log in a file, the terminal shows the bar; the file has no trace of it."""
    ours, theirs = pty.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(_command(tmp_path / "out", 1), stdout=log, stderr=theirs, env=_environ())
    os.close(theirs)
    shown = _read(ours)
    assert process.wait(60) == 0, shown
    assert "training [" in shown
    assert shown.endswith(_ERASE)
    assert not [line for line in (tmp_path / "log").read_text().splitlines() if not _LINE.fullmatch(line)]


def test_without_a_terminal_lines_are_plain(tmp_path: Path) -> None:
    """As in CloudWatch, a file or a pipe: no control characters, and no more lines than ever in a short job."""
    done = subprocess.run(
        _command(tmp_path / "out", 2), capture_output=True, text=True, check=True, env=_environ(), timeout=120
    )
    assert not done.stderr
    assert not [line for line in done.stdout.splitlines() if not _LINE.fullmatch(line)]
    assert "% " not in done.stdout
    assert " left" not in done.stdout
