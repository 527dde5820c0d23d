"""The commands: ``treering train | plan | local``, and ``train``, which SageMaker calls.

Only what a command needs is imported: a container is up and able to report within a fraction of a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from treering import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from treering.job import Distribution
    from treering.local import LocalJob

_LOCAL_EXAMPLE = """\
examples:
  treering local --hosts 2 --channel train=data/train --channel validation=data/validation \\
      --hp objective=reg:squarederror --hp num_round=50 --output out
  treering local --hosts 4 --channel train=big.csv --content-type text/csv --hp num_round=100 --output out
"""


def train_main() -> int:
    """``train``: what SageMaker runs in the image."""
    return main(["train", *sys.argv[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """``treering``; returns the exit code. A mistake of the user is one sentence on stderr."""
    from treering.errors import TreeringError, UserError

    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except TreeringError as error:
        mark = "UserError: " if isinstance(error, UserError) else ""
        sys.stderr.write(f"treering: {mark}{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="treering", description=sys.modules["treering"].__doc__)
    parser.add_argument("--version", action="version", version=f"treering {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="run this host's part of the job (what the image runs)")
    train.set_defaults(run=_train)

    plan = commands.add_parser("plan", help="print who would do what, and start nothing")
    plan.add_argument("--json", action="store_true", help="as JSON")
    plan.set_defaults(run=_plan)

    local = commands.add_parser(
        "local",
        help="run the same job as N hosts on this machine, without Docker",
        epilog=_LOCAL_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    local.add_argument("--hosts", type=int, default=1, metavar="N", help="how many hosts (default 1)")
    local.add_argument(
        "--channel", action="append", default=[], metavar="NAME=PATH", help="a channel's file or folder"
    )
    local.add_argument(
        "--content-type", action="append", default=[], metavar="[NAME=]MIME", help="of one channel, or of all"
    )
    local.add_argument(
        "--distribution",
        action="append",
        default=[],
        metavar="[NAME=]KIND",
        help="FullyReplicated (default) or ShardedByS3Key, of one channel or of all",
    )
    local.add_argument("--hp", action="append", default=[], metavar="KEY=VALUE", help="a hyperparameter")
    local.add_argument("--hp-file", type=Path, metavar="FILE.json", help="hyperparameters as a JSON object")
    local.add_argument("--threads-per-host", type=int, default=0, metavar="K", help="default: cores / hosts")
    local.add_argument("--checkpoints", type=Path, metavar="DIR", help="the folder for checkpoints")
    local.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for the model, logs, failures"
    )
    local.set_defaults(run=_local)
    return parser


def _train(_: argparse.Namespace) -> int:
    from treering import supervisor

    return supervisor.train()


def _plan(options: argparse.Namespace) -> int:
    import os

    from treering import plan
    from treering.paths import Paths

    resolved = plan.resolve(Paths.from_environment(), os.environ)
    sys.stdout.write(plan.as_json(resolved) if options.json else plan.as_text(resolved))
    return 0


def _local(options: argparse.Namespace) -> int:
    from treering import local
    from treering.artifacts import MODEL_NAME

    job = _local_job(options)
    local.prepare(job)
    code = local.run(job)
    sys.stdout.flush()
    if code == 0:
        sys.stdout.write(f"model: {job.output / 'model' / MODEL_NAME}\n")
    else:
        failure = job.output / "output" / "failure"
        sys.stderr.write(f"the job failed: see {failure if failure.exists() else job.output / 'logs'}\n")
    return code


def _local_job(options: argparse.Namespace) -> LocalJob:
    from treering.errors import UserError
    from treering.job import Channel
    from treering.local import LocalJob

    if options.hosts < 1:
        raise UserError(f"--hosts {options.hosts}: a job needs at least one host")
    if options.threads_per_host < 0:
        raise UserError(
            f"--threads-per-host {options.threads_per_host}: give 1 or more, or nothing for all cores"
        )
    pairs = [_pair(text, "--channel") for text in options.channel]
    sources = dict(pairs)
    if len(sources) < len(pairs):
        raise UserError("--channel: a name is given twice; put all files of a channel into one folder")
    types = _per_channel(options.content_type, sources, "--content-type")
    kinds = _per_channel(options.distribution, sources, "--distribution")
    return LocalJob(
        hosts=options.hosts,
        channels={
            name: (Channel(name, types.get(name), _distribution(name, kinds)), Path(path))
            for name, path in sources.items()
        },
        hyperparameters=_hyperparameters(options),
        output=options.output,
        threads_per_host=options.threads_per_host,
        checkpoints=options.checkpoints,
    )


def _distribution(name: str, kinds: Mapping[str, str]) -> Distribution:
    from treering.errors import UserError

    match kinds.get(name, "FullyReplicated"):
        case "FullyReplicated":
            return "FullyReplicated"
        case "ShardedByS3Key":
            return "ShardedByS3Key"
        case other:
            raise UserError(f"--distribution {name}={other}: use FullyReplicated or ShardedByS3Key")


def _pair(text: str, option: str) -> tuple[str, str]:
    """``NAME=VALUE`` as two strings."""
    from treering.errors import UserError

    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UserError(f"{option} {text}: expected NAME=VALUE")
    return name, value


def _per_channel(given: Sequence[str], channels: Mapping[str, str], option: str) -> dict[str, str]:
    """Values for single channels (``NAME=VALUE``) on top of one for all (``VALUE``)."""
    from treering.errors import UserError

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


def _hyperparameters(options: argparse.Namespace) -> dict[str, str]:
    """``--hp-file`` with ``--hp`` on top, as strings."""
    from treering.errors import UserError

    given: dict[str, str] = {}
    if options.hp_file is not None:
        try:
            found = json.loads(options.hp_file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"--hp-file {options.hp_file}: {error}") from error
        if not isinstance(found, dict):
            raise UserError(f"--hp-file {options.hp_file}: expected a JSON object")
        given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
    return given | dict(_pair(text, "--hp") for text in options.hp)
