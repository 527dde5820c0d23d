"""Train on the flights on two hosts in the local mode of SageMaker Python SDK v3."""

from __future__ import annotations

import json
from pathlib import Path

from sagemaker.core.training.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode, ModelTrainer

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "out" / "flights" / "v3"
DATA = HERE.parents[1] / "out" / "flights" / "data"  # see README.md

OUT.mkdir(parents=True, exist_ok=True)
trainer = ModelTrainer(
    training_mode=Mode.LOCAL_CONTAINER,  # without this line and the last one it trains in SageMaker
    training_image="treering:cpu",
    compute=Compute(instance_type="local_cpu", instance_count=2),
    hyperparameters=json.loads((HERE / "hyperparameters.json").read_text()),
    local_container_root=str(OUT),
)
trainer.train(
    input_data_config=[
        InputData(channel_name=name, data_source=str(DATA / name), content_type="application/x-parquet")
        for name in ("train", "validation")
    ]
)
print(f"model: {OUT}/compressed_artifacts/model.tar.gz")
