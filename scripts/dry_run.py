"""A boto3 session that sends nothing: the first request that would create something is caught and checked."""

from __future__ import annotations

import difflib
import json
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
import botocore.session
from botocore.exceptions import ParamValidationError

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Caught", "ParamValidationError", "session", "violations"]

# Names for the signature alone; no signed request leaves.
CREDENTIALS = {"aws_access_key_id": "dry", "aws_secret_access_key": "run"}


class Caught(Exception):  # noqa: N818  # no error: it is what a dry run is for
    """Raised in place of sending the request."""

    def __init__(self, operation: str, request: Mapping[str, Any]) -> None:
        super().__init__(operation)
        self.operation = operation
        self.request = request


def session(region: str) -> boto3.Session:
    """A session whose SageMaker clients raise `Caught`, and whose other clients refuse to work.

    botocore has checked a request by then: types, required members, unknown members. What its service
    model says beyond that (patterns, lengths, ranges, choices) is checked here; raises UserError.
    """
    # The SDK would ask IAM whether the role will do.
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"
    underlying = botocore.session.Session()
    service = underlying.get_service_model("sagemaker")

    def catch(request: Any, event_name: str, **_: object) -> NoReturn:
        endpoint, operation = event_name.split(".")[1:]
        if endpoint != "sagemaker" or not operation.startswith("Create"):
            raise ConnectionError(f"a dry run asks nobody, not even {endpoint} for {operation}")
        content = json.loads(request.body)
        problems = list(violations(service.operation_model(operation).input_shape, content, operation))
        if problems:
            raise UserError("; ".join(problems))
        raise Caught(operation, content)

    underlying.register("before-send", catch)
    return boto3.Session(botocore_session=underlying, region_name=region, **CREDENTIALS)


def violations(shape: Any, value: Any, where: str) -> Iterator[str]:
    """What of `value` a shape of botocore's service model does not allow, one sentence each.

    The body that was sent lost nothing but Python's types, so JSON's stand in for them.
    """
    match shape.type_name:
        case "structure":
            for name, member in value.items():
                yield from violations(shape.members[name], member, f"{where}.{name}")
        case "list":
            yield from _range(shape, len(value), f"{where}: {len(value)} entries")
            for number, member in enumerate(value):
                yield from violations(shape.member, member, f"{where}[{number}]")
        case "map":
            yield from _range(shape, len(value), f"{where}: {len(value)} entries")
            for key, member in value.items():
                yield from violations(shape.key, key, f"{where} key {key!r}")
                yield from violations(shape.value, member, f"{where}[{key!r}]")
        case "string":
            yield from _range(shape, len(value), f"{where}: {len(value)} characters")
            yield from _text(shape, value, where)
        case "integer" | "long" | "float" | "double":
            yield from _range(shape, value, f"{where}: {value}")


def _range(shape: Any, size: float, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{what}, at least {least} needed"
    if most is not None and size > most:
        yield f"{what}, at most {most} allowed"


def _text(shape: Any, value: str, where: str) -> Iterator[str]:
    choices, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
    if choices and value not in choices:
        near = difflib.get_close_matches(value, choices)
        yield f"{where}: {value!r} is none of its {len(choices)} values; near {', '.join(near) or 'to no other'}"
    if pattern and not re.search(rf"^(?:{pattern})$", value):
        yield f"{where}: {value!r} does not match {pattern}"
