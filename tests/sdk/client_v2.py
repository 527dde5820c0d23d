"""A job in local mode by SageMaker Python SDK v2, as its users write one; run by that SDK's Python.

Its only argument is a `Job` of conftest.py, as JSON. Its last line is where the SDK says the model is.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession


def main(job: dict[str, Any]) -> None:
    """Train; whatever `fit` raises ends the process."""
    session = LocalSession()
    session.config = {"local": {"local_code": True, "container_root": job["folder"]}}
    estimator = Estimator(
        image_uri=job["image"],
        role="arn:aws:iam::111122223333:role/unused",
        instance_type="local",
        instance_count=job["hosts"],
        hyperparameters=job["hyperparameters"],
        output_path=f"file://{job['folder']}/out",
        sagemaker_session=session,
        **({"entry_point": "train.py", "source_dir": job["code"]} if job["code"] else {}),
    )
    channels = job["channels"]
    if isinstance(channels, str):  # nothing but an address: the SDK names the channel
        estimator.fit(f"file://{channels}")
    else:
        content_type = job["content_type"]
        estimator.fit(
            {
                name: TrainingInput(f"file://{path}", content_type=content_type)
                for name, path in channels.items()
            }
        )
    print(f"model: {estimator.model_data}")


main(json.loads(sys.argv[1]))
