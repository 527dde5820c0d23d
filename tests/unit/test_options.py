"""Options of the command line: what is taken, and what each mistake is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from treering import options
from treering.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = {"train": "a", "validation": "b"}


@pytest.mark.parametrize(
    ("text", "expected"), [("eta=0.1", ("eta", "0.1")), ("a=b=c", ("a", "b=c")), ("a=", ("a", ""))]
)
def test_pair(text: str, expected: tuple[str, str]) -> None:
    """The first equals sign divides; a value may hold more of them, or be empty."""
    assert options.pair(text, "--hp") == expected


@pytest.mark.parametrize("text", ["eta", "=1", ""])
def test_no_pair(text: str) -> None:
    """What has no name and value is told with its option."""
    with pytest.raises(UserError, match=f"--hp {text}: expected NAME=VALUE"):
        options.pair(text, "--hp")


def test_sources() -> None:
    """A channel is given once: a second one of its name would be lost in silence."""
    assert options.sources(["train=s3://x/y=z", "validation=b"]) == {"train": "s3://x/y=z", "validation": "b"}
    with pytest.raises(UserError, match="given twice"):
        options.sources(["train=a", "train=b"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {}),
        (["text/csv"], {"train": "text/csv", "validation": "text/csv"}),
        (["text/csv;label_size=1"], dict.fromkeys(CHANNELS, "text/csv;label_size=1")),
        (["train=text/csv;header=true", "text/libsvm"], {"train": "text/csv;header=true", "validation": "text/libsvm"}),
        (["train=csv"], {"train": "csv"}),
    ],
)  # fmt: skip
def test_per_channel(given: list[str], expected: dict[str, str]) -> None:
    """One value for all, and values for single channels on top of it, in whatever order."""
    assert options.per_channel(given, CHANNELS, "--content-type") == expected


def test_unknown_channel() -> None:
    """The sentence names the channels that there are."""
    with pytest.raises(UserError, match=r"--content-type tain=csv: .*'tain' \(train, validation\)"):
        options.per_channel(["tain=csv"], CHANNELS, "--content-type")


def test_distribution() -> None:
    """Replicated unless said otherwise; another word is refused with the two that exist."""
    assert options.distribution("train", {}) == "FullyReplicated"
    assert options.distribution("train", {"train": "ShardedByS3Key"}) == "ShardedByS3Key"
    with pytest.raises(UserError, match="train=Sharded: use FullyReplicated or ShardedByS3Key"):
        options.distribution("train", {"train": "Sharded"})


def test_hyperparameters(tmp_path: Path) -> None:
    """All become strings, as SageMaker writes them, and the command line decides over the file."""
    file = tmp_path / "hp.json"
    file.write_text(json.dumps({"eta": 0.1, "max_depth": "4", "monotone_constraints": [1, 0]}))
    assert options.hyperparameters(file, ["eta=0.2"]) == {
        "eta": "0.2",
        "max_depth": "4",
        "monotone_constraints": "[1, 0]",
    }


@pytest.mark.parametrize("content", [None, "{", "[1]", "\xff"])
def test_hyperparameter_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    """A file that is not there, no JSON, or no object is told with its name."""
    file = tmp_path / "hp.json"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"hp\.json"):
        options.hyperparameters(file, [])
