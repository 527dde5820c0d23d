"""The commands: ``treering train | plan | local | predict``, and ``train``, which SageMaker calls.

Only what a command needs is imported: a container is up and able to report within a fraction of a second.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from treering import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from treering.local import LocalJob

_LOCAL_EXAMPLE = """\
examples:
  treering local --hosts 2 --channel train=data/train --channel validation=data/validation \\
      --hp objective=reg:squarederror --hp num_round=50 --output out
  treering local --hosts 4 --channel train=big.csv --content-type text/csv --hp num_round=100 --output out
"""
_PREDICT_EXAMPLE = """\
examples:
  treering predict out/model/xgboost-model data/validation > predictions.csv
  treering predict model.tar.gz late.csv --content-type 'text/csv;header=true' \\
      --hp label_column=late --output predictions.csv
"""
_PREDICT_HP = "a hyperparameter of the job; those that say which column is what count"


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

    predict = commands.add_parser(
        "predict",
        help="score files as training reads them, one line a row",
        epilog=_PREDICT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument(
        "model", type=Path, metavar="MODEL", help="xgboost-model, its folder, or model.tar.gz"
    )
    predict.add_argument("data", type=Path, metavar="DATA", help="a file or folder, laid out as for training")
    predict.add_argument("--content-type", metavar="MIME", help="default: what the files' extensions say")
    predict.add_argument("--hp", action="append", default=[], metavar="KEY=VALUE", help=_PREDICT_HP)
    predict.add_argument("--hp-file", type=Path, metavar="FILE.json", help="hyperparameters as a JSON object")
    predict.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    predict.set_defaults(run=_predict)
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


def _predict(options: argparse.Namespace) -> int:
    import logging
    import os

    from treering import predict
    from treering.options import hyperparameters
    from treering.resources import cores

    logging.basicConfig(format="treering: %(message)s", level=logging.WARNING)
    booster = predict.load(options.model)
    predictions = predict.predict(
        booster, options.data, options.content_type, hyperparameters(options.hp_file, options.hp), cores()
    )
    try:
        with predict.output(options.output) as target:
            predict.write(predictions, target)
            target.flush()
    except BrokenPipeError:  # as with `| head`: nobody reads on, not even what Python flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _local(options: argparse.Namespace) -> int:
    from treering import local

    job = _local_job(options)
    local.prepare(job)
    code = local.run(job)
    sys.stdout.flush()
    if code == 0:
        sys.stdout.write(f"model: {_left(job.output / 'model')}\n")
    else:
        failure = job.output / "output" / "failure"
        sys.stderr.write(f"the job failed: see {failure if failure.exists() else job.output / 'logs'}\n")
    return code


def _left(folder: Path) -> str:
    """What a job left as its model; a script may have left anything."""
    from treering.artifacts import MODEL_NAME

    model = folder / MODEL_NAME
    if model.exists():
        return str(model)
    return f"{folder}, without a file called {MODEL_NAME}" if any(folder.iterdir()) else "none"


def _local_job(options: argparse.Namespace) -> LocalJob:
    from treering.errors import UserError
    from treering.job import Channel
    from treering.local import LocalJob
    from treering.options import distribution, hyperparameters, per_channel, sources

    if options.hosts < 1:
        raise UserError(f"--hosts {options.hosts}: a job needs at least one host")
    if options.threads_per_host < 0:
        raise UserError(
            f"--threads-per-host {options.threads_per_host}: give 1 or more, or nothing for all cores"
        )
    paths = sources(options.channel)
    types = per_channel(options.content_type, paths, "--content-type")
    kinds = per_channel(options.distribution, paths, "--distribution")
    return LocalJob(
        hosts=options.hosts,
        channels={
            name: (Channel(name, types.get(name), distribution(name, kinds)), Path(path))
            for name, path in paths.items()
        },
        hyperparameters=hyperparameters(options.hp_file, options.hp),
        output=options.output,
        threads_per_host=options.threads_per_host,
        checkpoints=options.checkpoints,
    )
