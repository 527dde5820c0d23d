"""Jobs through SageMaker Python SDK v3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker.core.shapes import MetricDefinition
from sagemaker.core.training.configs import (
    Channel,
    CheckpointConfig,
    Compute,
    DataSource,
    Networking,
    OutputDataConfig,
    S3DataSource,
    StoppingCondition,
)
from sagemaker.train.model_trainer import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

from treering.errors import UserError

if TYPE_CHECKING:
    import boto3
    from training_job import TrainingJob
    from tune_job import Range, Tuning

# Given in place of the user's files of SDK defaults: the options say everything.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def submit(job: TrainingJob, boto: boto3.Session, *, wait: bool) -> str:
    """Start a training job; returns its name."""
    trainer = _trainer(job, boto)
    trainer.train(input_data_config=_inputs(job), wait=wait, logs=wait)
    return str(trainer._latest_training_job.training_job_name)  # noqa: SLF001  # the SDK names no other way


def tune(job: TrainingJob, tuning: Tuning, boto: boto3.Session, *, wait: bool) -> str:
    """Start a tuning job; returns its name. Raises UserError for what this SDK would leave out in silence."""
    if job.encrypt_traffic or job.isolate:
        raise UserError("SDK v3 leaves --encrypt-traffic and --isolate out of a tuning job; use --sdk v2")
    tuner = HyperparameterTuner(
        model_trainer=_trainer(job, boto),
        objective_metric_name=tuning.objective,
        objective_type="Maximize" if tuning.maximize else "Minimize",
        hyperparameter_ranges={each.name: _range(each) for each in tuning.ranges},
        metric_definitions=[{"Name": name, "Regex": regex} for name, regex in job.metrics.items()],
        strategy=tuning.strategy,
        max_jobs=tuning.jobs,
        max_parallel_jobs=tuning.parallel,
        early_stopping_type=tuning.early_stopping,
        base_tuning_job_name=job.name,
    )
    tuner.tune(inputs=_inputs(job), wait=wait)
    return str(tuner.latest_tuning_job.hyper_parameter_tuning_job_name)


def _trainer(job: TrainingJob, boto: boto3.Session) -> ModelTrainer:
    networking = None
    if job.subnets or job.security_groups or job.encrypt_traffic or job.isolate:
        networking = Networking(
            subnets=list(job.subnets) or None,
            security_group_ids=list(job.security_groups) or None,
            enable_inter_container_traffic_encryption=job.encrypt_traffic,
            enable_network_isolation=job.isolate,
        )
    trainer = ModelTrainer(
        sagemaker_session=Session(boto_session=boto, sagemaker_config=DEFAULTS),
        training_image=job.image_uri,
        role=job.role,
        base_job_name=job.name,
        compute=Compute(
            instance_type=job.instance_type,
            instance_count=job.instance_count,
            volume_size_in_gb=job.volume_size,
            enable_managed_spot_training=job.max_wait is not None,
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=job.max_run, max_wait_time_in_seconds=job.max_wait
        ),
        training_input_mode=job.input_mode,
        hyperparameters=dict(job.hyperparameters),
        output_data_config=OutputDataConfig(s3_output_path=job.output),
        checkpoint_config=CheckpointConfig(s3_uri=job.checkpoints) if job.checkpoints else None,
        networking=networking,
    )
    return trainer.with_metric_definitions(
        [MetricDefinition(name=name, regex=regex) for name, regex in job.metrics.items()]
    )


def _inputs(job: TrainingJob) -> list[Channel]:
    return [
        Channel(
            channel_name=each.name,
            data_source=DataSource(
                s3_data_source=S3DataSource(
                    s3_data_type="S3Prefix", s3_uri=each.uri, s3_data_distribution_type=each.distribution
                )
            ),
            **({"content_type": each.content_type} if each.content_type else {}),
        )
        for each in job.inputs
    ]


def _range(given: Range) -> Any:
    if given.choices:
        return CategoricalParameter(list(given.choices))
    kind = IntegerParameter if given.whole else ContinuousParameter
    return kind(given.low, given.high, scaling_type=given.scaling)
