"""Jobs through SageMaker Python SDK v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker.session import Session
from sagemaker.tuner import HyperparameterTuner

if TYPE_CHECKING:
    import boto3
    from training_job import TrainingJob
    from tune_job import Range, Tuning

# Given in place of the user's files of SDK defaults: the options say everything.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def submit(job: TrainingJob, boto: boto3.Session, *, wait: bool) -> str:
    """Start a training job; returns its name."""
    estimator = _estimator(job, boto)
    estimator.fit(_inputs(job), wait=wait, logs="All" if wait else None)
    return str(estimator.latest_training_job.name)


def tune(job: TrainingJob, tuning: Tuning, boto: boto3.Session, *, wait: bool) -> str:
    """Start a tuning job; returns its name."""
    tuner = HyperparameterTuner(
        _estimator(job, boto),
        objective_metric_name=tuning.objective,
        objective_type="Maximize" if tuning.maximize else "Minimize",
        hyperparameter_ranges={each.name: _range(each) for each in tuning.ranges},
        metric_definitions=_metrics(job),
        strategy=tuning.strategy,
        max_jobs=tuning.jobs,
        max_parallel_jobs=tuning.parallel,
        early_stopping_type=tuning.early_stopping,
        base_tuning_job_name=job.name,
    )
    tuner.fit(_inputs(job), include_cls_metadata=False, wait=wait)
    return str(tuner.latest_tuning_job.name)


def _estimator(job: TrainingJob, boto: boto3.Session) -> Estimator:
    return Estimator(
        image_uri=job.image_uri,
        role=job.role,
        sagemaker_session=Session(boto_session=boto, sagemaker_config=DEFAULTS),
        base_job_name=job.name,
        instance_type=job.instance_type,
        instance_count=job.instance_count,
        volume_size=job.volume_size,
        input_mode=job.input_mode,
        hyperparameters=dict(job.hyperparameters),
        output_path=job.output,
        max_run=job.max_run,
        use_spot_instances=job.max_wait is not None,
        max_wait=job.max_wait,
        checkpoint_s3_uri=job.checkpoints,
        subnets=list(job.subnets) or None,
        security_group_ids=list(job.security_groups) or None,
        encrypt_inter_container_traffic=job.encrypt_traffic,
        enable_network_isolation=job.isolate,
        metric_definitions=_metrics(job),
        disable_profiler=True,
        debugger_hook_config=False,
    )


def _metrics(job: TrainingJob) -> list[dict[str, str]]:
    return [{"Name": name, "Regex": regex} for name, regex in job.metrics.items()]


def _inputs(job: TrainingJob) -> dict[str, TrainingInput]:
    return {
        each.name: TrainingInput(each.uri, content_type=each.content_type, distribution=each.distribution)
        for each in job.inputs
    }


def _range(given: Range) -> Any:
    if given.choices:
        return CategoricalParameter(list(given.choices))
    kind = IntegerParameter if given.whole else ContinuousParameter
    return kind(given.low, given.high, scaling_type=given.scaling)
