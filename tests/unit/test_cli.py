"""`treering.cli`: what the commands say of themselves."""

from __future__ import annotations

import re

import pytest

from treering.cli import main


@pytest.mark.parametrize("command", ["local", "predict"])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole commands, as they are to be typed, with no option that the help above them does not list."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    listed, _, shown = capsys.readouterr().out.partition("\nexamples:\n")
    examples = shown.replace("\\\n", "").splitlines()
    assert len(examples) >= 2
    options = set(re.findall(r"--[a-z-]+", listed))
    for example in examples:
        assert example.split()[:2] == ["treering", command]
        assert "--output" in example or ">" in example
        assert set(re.findall(r"--[a-z-]+", example)) <= options
