"""What command-line options say of channels and hyperparameters: ``NAME=VALUE``, once for each or for all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from treering.job import Distribution


def pair(text: str, option: str) -> tuple[str, str]:
    """``NAME=VALUE`` as two strings; raises UserError when it is something else."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UserError(f"{option} {text}: expected NAME=VALUE")
    return name, value


def sources(given: Sequence[str]) -> dict[str, str]:
    """``--channel NAME=WHERE``, each name once; raises UserError when one is given twice."""
    pairs = [pair(text, "--channel") for text in given]
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UserError("--channel: a name is given twice; put all files of a channel into one folder")
    return found


def per_channel(given: Sequence[str], channels: Mapping[str, str], option: str) -> dict[str, str]:
    """Values for single channels (``NAME=VALUE``) on top of one for all (``VALUE``).

    Raises UserError for a channel that is not one of `channels`.
    """
    for_all, for_one = {}, {}
    for text in given:
        name, equals, value = text.partition("=")
        # A MIME type's own parameters hold an equals sign too: text/csv;label_size=1
        if equals and ";" not in name and "/" not in name:
            if name not in channels:
                raise UserError(
                    f"{option} {text}: there is no channel {name!r} ({', '.join(channels) or 'none'})"
                )
            for_one[name] = value
        else:
            for_all = dict.fromkeys(channels, text)
    return for_all | for_one


def distribution(name: str, kinds: Mapping[str, str]) -> Distribution:
    """The distribution of one channel, FullyReplicated unless `kinds` says otherwise."""
    match kinds.get(name, "FullyReplicated"):
        case "FullyReplicated":
            return "FullyReplicated"
        case "ShardedByS3Key":
            return "ShardedByS3Key"
        case other:
            raise UserError(f"--distribution {name}={other}: use FullyReplicated or ShardedByS3Key")


def hyperparameters(file: Path | None, given: Sequence[str]) -> dict[str, str]:
    """``--hp-file`` with each ``--hp KEY=VALUE`` on top, as strings."""
    found: dict[str, object] = {}
    if file is not None:
        try:
            read = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"--hp-file {file}: {error}") from error
        if not isinstance(read, dict):
            raise UserError(f"--hp-file {file}: expected a JSON object")
        found = read
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
    return texts | dict(pair(text, "--hp") for text in given)
