"""Searches that make no sense: each is told before any SDK is imported."""

from __future__ import annotations

import pytest
import tune_job

JOB = (
    "--image-uri 111122223333.dkr.ecr.eu-central-1.amazonaws.com/treering:1 --region eu-central-1 "
    "--role arn:aws:iam::111122223333:role/training --output s3://bucket/out "
    "--channel train=s3://bucket/train --channel validation=s3://bucket/validation "
    "--hp objective=binary:logistic --hp num_round=10 --objective validation:auc --dry-run"
)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--objective train:auc", ["train:auc", "validation:"]),
        ("--objective validation:aux", ["validation:aux"]),
        ("--range max_depth=3", ["max_depth=3", "LOW:HIGH"]),
        ("--range max_depth=9:3", ["9", "3"]),
        ("--range max_depth=3:9:cube", [":log"]),
        ("--range num_round=3:9", ["num_round", "twice"]),
        ("--range eta=0:2", ["eta"]),
        ("--range learning_rate=0.1:0.2 --range learning_rate=0.1:0.3", ["learning_rate", "twice"]),
        ("--range max_dept=3:9", ["max_dept", "max_depth"]),
        ("--choice objective=binary:logistic", ["objective", "twice"]),
        ("--choice booster=gbforest", ["gbforest"]),
        ("--range booster=1:2", ["booster"]),
        ("", ["--range", "--choice"]),
        ("--hp max_depth=-1 --range eta=0.1:0.3", ["max_depth"]),
    ],
)
def test_refused(
    more: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A range that the container would refuse wastes no training job."""
    monkeypatch.setattr("sys.argv", ["tune_job.py", *JOB.split(), *more.split()])
    assert tune_job.main() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert all(word in said.err for word in words), said.err
