"""A training job as the command line describes it: what submit_job.py and tune_job.py have in common."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))

from treering import options
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.job import Distribution

NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
SCORED = ("train", "validation")  # the channels whose metrics each round tells


class Input(NamedTuple):
    """One channel's data in S3."""

    name: str
    uri: str
    content_type: str | None
    distribution: Distribution


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to ask SageMaker for; both SDKs are handed the same.

    Parameters
    ----------
    name
        Base of the job's name; the SDK appends the time.
    image_uri, role, region, instance_type, instance_count
        As in an estimator; `role` is an ARN.
    volume_size
        GB of each host's disk.
    inputs
        The channels.
    input_mode
        ``File`` or ``FastFile``.
    hyperparameters
        Names and texts.
    output
        S3 address below which the model goes.
    max_run
        Seconds that the job may train.
    max_wait
        Seconds until a spot job has to be through, waiting included; None for hosts on demand.
    checkpoints
        S3 address for checkpoints, or None.
    subnets, security_groups
        Of the VPC; empty for none.
    encrypt_traffic, isolate
        Whether traffic between hosts is encrypted; whether the hosts have no other network.
    metrics
        Regular expressions that find each metric's value in the log, by the metric's name.
    """

    name: str
    image_uri: str
    role: str
    region: str
    instance_type: str
    instance_count: int
    volume_size: int
    inputs: tuple[Input, ...]
    input_mode: str
    hyperparameters: Mapping[str, str]
    output: str
    max_run: int
    max_wait: int | None
    checkpoints: str | None
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    encrypt_traffic: bool
    isolate: bool
    metrics: Mapping[str, str]


def parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser of all options that describe a training job.

    ``@FILE`` stands for the options in a file, written as on a command line, with ``#`` for comments.
    """
    parser = _FileReadingParser(
        description=description,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    add = parser.add_argument
    add("--sdk", choices=("v3", "v2"), default="v3", help="which SageMaker Python SDK to use (default v3)")
    add("--dry-run", action="store_true", help="print the request instead of sending it; asks nobody")
    add("--no-wait", action="store_true", help="return as soon as the job is created")
    job = parser.add_argument_group("the job")
    add = job.add_argument
    add("--image-uri", required=True, help="what scripts/push_image.sh printed")
    add("--role", required=True, metavar="ARN", help="the execution role; see docs/submit.md")
    add("--region", required=True)
    add("--name", default="treering", help="what the job's name begins with (default treering)")
    add("--instance-type", default="ml.m5.4xlarge", metavar="TYPE", help="default ml.m5.4xlarge")
    add("--hosts", type=int, default=1, metavar="N", help="how many of them (default 1)")
    add("--volume-size", type=int, default=50, metavar="GB", help="disk of each (default 50)")
    add("--channel", action="append", default=[], metavar="NAME=S3URI", help="train, validation, …")
    add(
        "--content-type", action="append", default=[], metavar="[NAME=]MIME", help="of one channel, or of all"
    )
    add(
        "--distribution",
        action="append",
        default=[],
        metavar="[NAME=]KIND",
        help="FullyReplicated (default) or ShardedByS3Key",
    )
    add("--input-mode", choices=("File", "FastFile"), default="File")
    add("--hp", action="append", default=[], metavar="KEY=VALUE", help="a hyperparameter")
    add("--hp-file", type=Path, metavar="FILE.json", help="hyperparameters as a JSON object")
    add("--output", required=True, metavar="S3URI", help="where the model goes")
    job = parser.add_argument_group("time, spot and checkpoints")
    add = job.add_argument
    add("--max-run", type=int, default=86400, metavar="SECONDS", help="how long it may train (default a day)")
    add("--spot", action="store_true", help="use spot capacity")
    add(
        "--max-wait",
        type=int,
        metavar="SECONDS",
        help="with --spot: until when it has to be through (default twice --max-run)",
    )
    add("--checkpoints", metavar="S3URI", help="keep checkpoints, and go on from them")
    job = parser.add_argument_group("network")
    add = job.add_argument
    add("--subnet", action="append", default=[], metavar="ID", help="of your VPC")
    add(
        "--security-group",
        action="append",
        default=[],
        metavar="ID",
        help="one that lets its members talk to each other",
    )
    add("--encrypt-traffic", action="store_true", help="encrypt what the hosts send each other (slower)")
    add("--isolate", action="store_true", help="no network for the containers but among themselves")
    return parser


class _FileReadingParser(argparse.ArgumentParser):
    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        return shlex.split(arg_line, comments=True)


def describe(given: argparse.Namespace) -> TrainingJob:
    """The job that the options describe; raises UserError for what treering itself would refuse."""
    if given.hosts < 1:
        raise UserError(f"--hosts {given.hosts}: a job needs at least one host")
    if not given.role.startswith("arn:"):
        raise UserError(f"--role {given.role} is no ARN: it has to begin with arn:")
    uris = options.sources(given.channel)
    if not {"train", "training"} & uris.keys():
        raise UserError("--channel train=S3URI is missing: training needs data")
    for what in (*uris.values(), given.output, *filter(None, [given.checkpoints])):
        if not what.startswith("s3://"):
            raise UserError(f"{what} is no S3 address: it has to begin with s3://")
    types = options.per_channel(given.content_type, uris, "--content-type")
    kinds = options.per_channel(given.distribution, uris, "--distribution")
    hyperparameters = options.hyperparameters(given.hp_file, given.hp)
    chosen = Hyperparameters.parse(hyperparameters)
    scored = [channel for channel in SCORED if channel == "train" or channel in uris]
    return TrainingJob(
        name=given.name,
        image_uri=given.image_uri,
        role=given.role,
        region=given.region,
        instance_type=given.instance_type,
        instance_count=given.hosts,
        volume_size=given.volume_size,
        inputs=tuple(
            Input(name, uri, types.get(name), options.distribution(name, kinds)) for name, uri in uris.items()
        ),
        input_mode=given.input_mode,
        hyperparameters=hyperparameters,
        output=given.output,
        max_run=given.max_run,
        max_wait=_max_wait(given),
        checkpoints=given.checkpoints,
        subnets=tuple(given.subnet),
        security_groups=tuple(given.security_group),
        encrypt_traffic=given.encrypt_traffic,
        isolate=given.isolate,
        metrics={
            f"{channel}:{metric}": metric_regex(channel, metric)
            for metric in chosen.eval_metrics
            for channel in scored
        },
    )


def _max_wait(given: argparse.Namespace) -> int | None:
    if not given.spot:
        if given.max_wait is not None:
            raise UserError("--max-wait is for --spot jobs alone")
        return None
    if given.checkpoints is None:
        sys.stderr.write("note: without --checkpoints an interrupted spot job starts again from nothing\n")
    wait = 2 * given.max_run if given.max_wait is None else given.max_wait
    if wait < given.max_run:
        raise UserError(f"--max-wait {wait} has to be at least --max-run ({given.max_run})")
    return int(wait)


def metric_regex(channel: str, metric: str) -> str:
    """What finds the value of one metric in a line of the log.

    The line is ``[0]<tab>train-rmse:1.25<tab>validation-rmse:1.5``; CloudWatch shows the tab as ``#011``.
    """
    return rf"\[[0-9]+\].*(?:\s|#011){channel}-{re.escape(metric)}:({NUMBER})"
