"""How the ring itself behaves: waits, ports and ranks, from hyperparameters or the environment.

The supervisor reads these without the full hyperparameter schema, since it has to be up (and able to
report) before anything heavy is imported. A value that cannot be parsed keeps its default here: the
rank, which checks every hyperparameter, reports it in the same second.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.paths import Paths

DEFAULT_PORT = 7171
_LARGEST = 65535  # where ports end; no host has more ranks or threads
_MAY_BE_ZERO = ("stall_timeout", "threads_per_host")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """All of the ring's knobs; times in seconds.

    Each field may be given as a hyperparameter of the same name or, stronger, as the environment
    variable ``TREERING_<NAME>``.
    """

    rendezvous_timeout: float = 900.0  # until every host has joined
    heartbeat_interval: float = 2.0
    lost_timeout: float = 15.0  # a host silent for longer is lost
    stall_timeout: float = 600.0  # without any progress anywhere; 0: never
    stop_grace: float = 100.0  # for a job that is asked to stop to finish its round
    ranks_per_host: int = 1
    threads_per_host: int = 0  # 0: all cores this host may use
    provider: str = "tcp"  # libfabric's: tcp or efa
    port: int = DEFAULT_PORT  # where the first host listens

    @classmethod
    def read(cls, paths: Paths, environ: Mapping[str, str]) -> Self:
        """Read what is given and valid; everything else keeps its default. Raises nothing."""
        try:
            given = json.loads(paths.hyperparameters.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            given = {}
        if not isinstance(given, dict):
            given = {}
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            raw = environ.get(f"TREERING_{field.name.upper()}", given.get(field.name))
            value = None if raw is None else _parse(str(raw).strip().strip("\"'"), field.default)
            if value or (value == 0 and field.name in _MAY_BE_ZERO):
                values[field.name] = value
        return cls(**values)


def _parse(text: str, default: object) -> str | float | None:
    """`text` as a value of `default`'s type, or None where it is none."""
    if isinstance(default, str):
        return text or None
    try:
        number = int(text) if isinstance(default, int) else float(text)
    except ValueError:
        return None
    largest = _LARGEST if isinstance(number, int) else sys.float_info.max
    return number if 0 <= number <= largest else None
