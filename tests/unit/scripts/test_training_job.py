"""What the options of submit_job.py and tune_job.py make of a job, and what each mistake is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import training_job

from treering.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from training_job import TrainingJob

NEEDED = (
    "--image-uri 111122223333.dkr.ecr.eu-central-1.amazonaws.com/treering:1 --region eu-central-1 "
    "--role arn:aws:iam::111122223333:role/training --output s3://bucket/out "
    "--channel train=s3://bucket/train --channel validation=s3://bucket/validation "
    "--hp objective=binary:logistic --hp num_round=10"
)


def describe(more: str = "", needed: str = NEEDED) -> TrainingJob:
    """The job of a command line."""
    return training_job.describe(training_job.parser("", "").parse_args([*needed.split(), *more.split()]))


def test_defaults() -> None:
    """Hosts on demand, all of the data on each, and the objective's own metric on both channels."""
    job = describe()
    assert job.max_wait is None
    assert [each.distribution for each in job.inputs] == ["FullyReplicated"] * 2
    assert list(job.metrics) == ["train:logloss", "validation:logloss"]
    assert not job.encrypt_traffic
    assert not job.isolate


def test_metrics_without_validation() -> None:
    """A metric that no line of the log will ever hold is not defined."""
    needed = NEEDED.replace("--channel validation=s3://bucket/validation ", "")
    assert list(describe("--hp eval_metric=auc,error@0.7", needed).metrics) == [
        "train:auc",
        "train:error@0.7",
    ]


def test_options_from_a_file(tmp_path: Path) -> None:
    """A job's description may be a file with comments; what follows it counts more."""
    file = tmp_path / "job.txt"
    file.write_text(
        f"# the job\n{NEEDED}\n\n--content-type 'text/csv; header=true'  # has a space\n--hosts 4\n"
    )
    parsed = training_job.parser("", "").parse_args([f"@{file}", "--hosts", "2"])
    job = training_job.describe(parsed)
    assert job.instance_count == 2
    assert job.inputs[0].content_type == "text/csv; header=true"


def test_spot_waits_twice_as_long_as_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A spot job may wait; without checkpoints a note says what an interruption costs."""
    assert describe("--spot --max-run 100 --checkpoints s3://bucket/c").max_wait == 200
    assert capsys.readouterr().err == ""
    assert describe("--spot --max-run 100 --max-wait 100").max_wait == 100
    assert "--checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--hosts 0", ["--hosts 0", "at least one"]),
        ("--role training", ["--role training", "ARN"]),
        ("--hp max_dept=3", ["max_dept", "max_depth"]),
        ("--spot --max-run 100 --max-wait 99", ["--max-wait 99", "--max-run"]),
        ("--max-wait 99", ["--max-wait", "--spot"]),
        ("--checkpoints here", ["here", "s3://"]),
        ("--channel test=/data", ["/data", "s3://"]),
        ("--distribution train=Sharded", ["Sharded", "ShardedByS3Key"]),
        ("--content-type tain=text/csv", ["tain"]),
    ],
)
def test_mistakes(more: str, words: list[str]) -> None:
    """Whatever treering or SageMaker would refuse after minutes is refused at once."""
    with pytest.raises(UserError) as raised:
        describe(more)
    assert all(word in str(raised.value) for word in words)


def test_no_training_data() -> None:
    """A job needs a train channel, under either name."""
    needed = NEEDED.replace("train=", "validatoin=")
    with pytest.raises(UserError, match="--channel train"):
        describe(needed=needed)
    describe(needed=NEEDED.replace("train=", "training="))


@pytest.mark.parametrize("tab", ["\t", "#011"])
def test_regex_finds_its_metric(tab: str) -> None:
    """Of a line as the container writes it, and as CloudWatch shows it, each regex finds its own value."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    values = np.random.default_rng(seed).lognormal(sigma=9, size=5)
    names = ["rmse", "rmsle", "ndcg@5", "ndcg@5-", "error@0.7"]
    for writing in ("{:.5f}", "{:.5e}", "-{:.0f}"):
        texts = [writing.format(value) for value in values]
        pairs = [
            f"{channel}-{name}:{text}"
            for channel in ("train", "validation")
            for name, text in zip(names, texts, strict=True)
        ]
        line = f"[12]{tab}{tab.join(pairs)}"
        for name, text in zip(names, texts, strict=True):
            for channel in ("train", "validation"):
                regex = training_job.metric_regex(channel, name)
                assert re.findall(regex, line) == [text]
                assert not re.search(regex, f"12:00:01 algo-1 10 rounds, {channel}-{name} {text}")


def test_regex_skips_what_is_no_number() -> None:
    """A metric that came out as nan or inf is no value to tune on."""
    regex = training_job.metric_regex("validation", "auc")
    assert not re.search(regex, "[3]\tvalidation-auc:nan")
    assert not re.search(regex, "[3]\tvalidation-auc:inf")
