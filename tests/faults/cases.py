"""The fault matrix: every fault, how it is brought about, and how the job has to end."""

from __future__ import annotations

import functools
import signal
from typing import TYPE_CHECKING

from . import disks, strangers, strikes
from .case import ALL, ON_FIRST, SEVERAL, SOME, Case
from .jobs import CHECKPOINTED, Job
from .strikes import during, send, silence

if TYPE_CHECKING:
    from .case import Layout
    from .host import Port
    from .strikes import Phase


def _own(name: str, action: str, cause: str, layouts: tuple[Layout, ...] = ALL) -> Case:
    return Case(name, "crash", strikes.own_fault, cause, job=Job(action=action), layouts=layouts)


_CHECKPOINTED = Job(strikes.LAST_ROUND + 1, hyperparameters=CHECKPOINTED, checkpoints=True)
_SHORT = Job(rounds=strikes.LAST_ROUND + 1)
_SOME_SECONDS = Job(rounds=150)
_LARGE_MODEL = Job(_SHORT.rounds, hyperparameters={"num_parallel_tree": "100", "max_depth": "6"})  # some MB
# The rows fit, but the model grows by some MB a round.
_GROWING = Job(hyperparameters={"num_parallel_tree": "1500", "max_depth": "8", "max_bin": "64"})
_WORD = "ended without a word|was killed|lost contact"
_SILENT = "silent|lost contact|ended without a word"

_CRASHES = [
    _own("Python exception", "exception", "RuntimeError: the trainer is broken"),
    _own("exception without a text", "bare exception", "TimeoutError", SOME),
    _own("`sys.exit(3)`", "sys.exit", r"called sys\.exit\(3\)"),
    _own("`sys.exit()` in the middle", "sys.exit well", r"called sys\.exit\(\)", SOME),
    _own("`os._exit(7)`", "os._exit", "exit code 7"),
    _own("`os._exit(0)` in the middle", "os._exit well", "exit code 0", SOME),
    _own("segmentation fault", "segmentation fault", "SIGSEGV", SOME),
    Case("`kill -9` of the rank", "crash", during("round 5", send(signal.SIGKILL, "rank")), "SIGKILL"),
    Case(
        "`kill -9` of the supervisor",
        "crash",
        during("round 5", send(signal.SIGKILL, "supervisor")),
        _WORD,
        gone=True,
        unreachable=True,
    ),
]

_PHASES: tuple[tuple[Phase, Job], ...] = (
    ("rendezvous", Job()),
    ("loading", Job(data="large")),
    ("cuts", Job(data="large")),
    ("round 5", Job()),
    ("last barrier", _SHORT),
)
_LEAVING = [
    Case(
        f"host leaves during {phase}",
        "crash",
        during(phase, strikes.leave),
        _WORD,
        gone=True,
        unreachable=True,
        job=job,
        layouts=SEVERAL,
    )
    for phase, job in _PHASES
]

_SILENCES = [
    Case("SIGSTOP of the rank", "silence", during("round 5", send(signal.SIGSTOP, "rank")), "SIGSTOP"),
    Case(
        "host paused (all its processes stopped)",
        "silence",
        during("round 5", strikes.freeze),
        _SILENT,
        afterwards=strikes.thaw,
        gone=True,
        unreachable=True,
        layouts=SEVERAL,
    ),
    *(
        Case(
            name,
            "silence",
            during("round 5", act),
            _SILENT,
            unreachable=True,
            layouts=SEVERAL,
            needs=frozenset({"network"}),
        )
        for name, act in (
            ("network cut (link down)", strikes.cut),
            ("network cut one way (nothing goes out)", silence("out")),
            ("network cut one way (nothing comes in)", silence("in")),
        )
    ),
]

RENDEZVOUS = 3.0  # seconds, of the job whose host never starts
_STALL = Case(
    "connections between ranks cut, not those between supervisors",
    "silence",
    during("round 5", strikes.starve),
    "no progress",
    ending="either",
    layouts=SEVERAL,
    environ={"TREERING_STALL_TIMEOUT": "10"},
    needs=frozenset({"network"}),
)

_STARTS = [
    Case(
        "host never starts",
        "start",
        strikes.deadline_over(RENDEZVOUS),
        "missing|could not reach this host",
        absent=True,
        gone=True,
        layouts=SEVERAL,
        environ={"TREERING_RENDEZVOUS_TIMEOUT": str(RENDEZVOUS)},
    ),
    Case(
        "host starts late",
        "start",
        strikes.start_late,
        ending="well",
        absent=True,
        job=_SHORT,
        layouts=SEVERAL,
    ),
]

_STOPS = [
    Case("SIGTERM", "stop", during("round 5", send(signal.SIGTERM, "supervisor")), "SIGTERM"),
    Case(
        "SIGTERM with `save_model_on_termination`",
        "stop",
        during("round 5", send(signal.SIGTERM, "supervisor")),
        ending="well",
        job=Job(hyperparameters={"save_model_on_termination": "true"}),
    ),
]

_DISKS = [
    Case(
        "disk full on checkpoints",
        "disk",
        strikes.nothing,
        "cannot write .*checkpoint.*No space left",
        job=_CHECKPOINTED,
        layouts=ON_FIRST,
        before=functools.partial(disks.mount_small, folder="checkpoints"),
        needs=frozenset({"mounts"}),
    ),
    Case(
        "damaged checkpoints",
        "disk",
        strikes.nothing,
        ending="well",
        says="checkpoint.*(?:damaged|passed over|skipped)",
        job=_CHECKPOINTED,
        layouts=ON_FIRST,
        before=disks.corrupt_checkpoints,
    ),
    Case(
        "disk for the model full from the start",
        "disk",
        strikes.nothing,
        "cannot write to .*model.*No space left",
        job=_SHORT,
        layouts=ON_FIRST,
        before=functools.partial(disks.mount_small, folder="model"),
        needs=frozenset({"mounts"}),
    ),
    Case(
        "disk full on the model",
        "disk",
        strikes.until_last_round,
        "cannot write .*xgboost-model.*No space left",
        job=_LARGE_MODEL,
        layouts=ON_FIRST,
        before=functools.partial(disks.mount_small, folder="model", size="1m"),
        needs=frozenset({"mounts"}),
    ),
    Case(
        "model folder cannot be written",
        "disk",
        strikes.nothing,
        "cannot write to .*model",
        job=_SHORT,
        layouts=ON_FIRST,
        before=functools.partial(disks.mount_read_only, folder="model"),
        needs=frozenset({"mounts"}),
    ),
]

_SENT = (("idle connection", 0), ("garbage", 1000))
_PORTS: tuple[tuple[Port, str], ...] = (
    ("MPI", "MPI's"),
    ("tracker", "XGBoost's tracker's"),
    ("worker", "XGBoost's worker's"),
)
_STRANGERS = [
    *(
        Case(
            f"{what} on the rendezvous port",
            "stranger",
            strangers.stranger_before_the_last_host(size),
            ending="well",
            absent=True,
            job=_SHORT,
            layouts=(ALL[2], ALL[4]),
        )
        for what, size in _SENT
    ),
    *(
        Case(
            f"{what} on {port} port, {'at once' if early else 'in training'}",
            "stranger",
            strangers.stranger(kind, size, early=early),
            ending="either",
            cause="" if kind == "MPI" else "XGBoost",
            job=_SOME_SECONDS,
            environ={"TREERING_STALL_TIMEOUT": "10"},
            layouts=ALL[1:2] if kind == "tracker" else ALL[1:3],
        )
        for kind, port in _PORTS
        for early in (True, False)
        for what, size in _SENT
    ),
]

_CONTAINERS = [
    Case(
        "`docker pause`",
        "silence",
        during("round 5", strikes.docker_command("pause")),
        _SILENT,
        afterwards=strikes.docker_command("unpause"),
        gone=True,
        unreachable=True,
        layouts=(ALL[1], ALL[4]),
        container=(),
    ),
    Case(
        "`docker kill`",
        "crash",
        during("round 5", strikes.docker_command("kill")),
        _WORD,
        gone=True,
        unreachable=True,
        layouts=(ALL[1], ALL[4]),
        container=(),
    ),
    Case(
        "`docker kill --signal TERM`",
        "stop",
        during("round 5", strikes.docker_command("kill", "--signal=TERM")),
        "SIGTERM",
        layouts=(ALL[2],),
        container=(),
    ),
    Case(
        "memory limit of the container reached",
        "crash",
        strikes.rank_gone,
        "memory ran out: this container's limit is .*in use",
        job=_GROWING,
        layouts=(ALL[0], ALL[2], ALL[3]),
        container=("--memory=240m", "--memory-swap=240m"),
    ),
    Case(
        "disk full on the model, in a container",
        "disk",
        strikes.until_last_round,
        "cannot write .*xgboost-model.*No space left",
        job=_LARGE_MODEL,
        layouts=(ALL[1],),
        container=("--tmpfs=/opt/ml/model:size=1m",),
    ),
    Case(
        "model folder mounted read-only",
        "disk",
        strikes.nothing,
        "cannot write to /opt/ml/model",
        job=_SHORT,
        layouts=(ALL[1],),
        container=("--tmpfs=/opt/ml/model:ro",),
    ),
]

CASES = [*_CRASHES, *_LEAVING, *_SILENCES, _STALL, *_STARTS, *_STOPS, *_DISKS, *_STRANGERS, *_CONTAINERS]
