"""A job in local mode by SageMaker Python SDK v3, as its users write one; run by that SDK's Python.

Its only argument is a `Job` of conftest.py, as JSON. Its last line is where the SDK puts the model.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train.model_trainer import Mode, ModelTrainer


def main(job: dict[str, Any]) -> None:
    """Train; whatever `train` raises ends the process."""
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        base_job_name=f"job-{os.getpid()}",  # the SDK adds the second; two jobs of one second need more
        training_image=job["image"],
        compute=Compute(instance_type="local_cpu", instance_count=job["hosts"]),
        hyperparameters=job["hyperparameters"],
        local_container_root=job["folder"],
        source_code=SourceCode(source_dir=job["code"], entry_script="train.py") if job["code"] else None,
    )
    trainer.train(
        input_data_config=[
            InputData(channel_name=name, data_source=path, content_type=job["content_type"])
            for name, path in job["channels"].items()
        ]
    )
    print(f"model: file://{job['folder']}/compressed_artifacts/model.tar.gz")


main(json.loads(sys.argv[1]))
