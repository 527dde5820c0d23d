"""Train on the flights on two hosts in the local mode of SageMaker Python SDK v2."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "out" / "flights" / "v2"
DATA = HERE.parents[1] / "out" / "flights" / "data"  # see README.md

OUT.mkdir(parents=True, exist_ok=True)
# Local mode asks AWS for nothing, but wants credentials; with your own, LocalSession() will do.
session = LocalSession(boto3.Session("local", "mode", region_name="eu-central-1"))
session.config = {"local": {"local_code": True, "container_root": str(OUT)}}
estimator = Estimator(
    image_uri="treering:cpu",
    role="arn:aws:iam::111122223333:role/unused",
    instance_count=2,
    instance_type="local",  # a real type, and no session, and it trains in SageMaker
    hyperparameters=json.loads((HERE / "hyperparameters.json").read_text()),
    output_path=f"file://{OUT}",
    sagemaker_session=session,
)
estimator.fit(
    {
        name: TrainingInput(f"file://{DATA / name}", content_type="application/x-parquet")
        for name in ("train", "validation")
    }
)
print(f"model: {estimator.model_data}")
