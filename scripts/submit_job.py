"""Start a training job in SageMaker, or print the exact request with --dry-run. See docs/submit.md."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING

import training_job

from treering.errors import UserError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import ModuleType

    import boto3

EXAMPLE = """\
example:
  python scripts/submit_job.py --image-uri ACCOUNT.dkr.ecr.eu-central-1.amazonaws.com/treering:0.1.0 \\
      --role arn:aws:iam::ACCOUNT:role/training --region eu-central-1 --hosts 4 \\
      --channel train=s3://BUCKET/train --channel validation=s3://BUCKET/validation \\
      --content-type text/csv --distribution train=ShardedByS3Key \\
      --hp objective=reg:squarederror --hp num_round=200 --output s3://BUCKET/models
"""


def main() -> int:
    """Returns the exit code."""
    given = training_job.parser(__doc__ or "", EXAMPLE).parse_args()
    try:
        job = training_job.describe(given)
        return start(given, lambda sdk, boto: str(sdk.submit(job, boto, wait=not given.no_wait)))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def start(given: argparse.Namespace, create: Callable[[ModuleType, boto3.Session], str]) -> int:
    """Call `create` with the SDK's functions and a session; print the job's name, or in a dry run the request."""
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    with contextlib.redirect_stdout(sys.stderr):  # v2 logs to the stdout that it finds when imported
        import boto3  # noqa: PLC0415  # --help has to work without it
        import dry_run  # noqa: PLC0415  # as above

        sdk = importlib.import_module(f"sdk_{given.sdk}")
        if given.dry_run:
            try:
                create(sdk, dry_run.session(given.region))
            except dry_run.Caught as caught:
                answer = json.dumps(caught.request, indent=2)
            except dry_run.ParamValidationError as error:
                raise UserError(str(error)) from error
    if not given.dry_run:
        answer = create(sdk, boto3.Session(region_name=given.region))
    print(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
