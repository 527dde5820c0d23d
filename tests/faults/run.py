"""One case in one layout: run it, and compare what came out with what should have."""

from __future__ import annotations

import dataclasses
import re
import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

import xgboost

from .containers import Containers
from .lab import Lab, Pace

if TYPE_CHECKING:
    from pathlib import Path

    from .case import Case, Layout
    from .host import Host

# Shortened, so that the whole matrix runs in minutes; the deadline is generous, since machines differ.
QUICK = Pace(
    {
        "TREERING_HEARTBEAT_INTERVAL": "0.3",
        "TREERING_LOST_TIMEOUT": "3",
        "TREERING_STALL_TIMEOUT": "30",
    },
    lateness=2.0,
    cap=90.0,
)
REAL = Pace({}, lateness=60.0, cap=120.0)
_CLEARING = 10.0  # seconds until the last process of a job that has ended must be gone


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    seconds
        From the fault to the last exit of a host that could still tell; None when one of them hangs.
    codes
        Their exit codes.
    headlines
        The first line of their failure files.
    left
        What should not be there any more: processes, temporary files, parts of a model.
    has_model
        Whether the first host has a whole model.
    logs
        Everything that was printed.
    """

    seconds: float | None
    codes: dict[str, int | None]
    headlines: dict[str, str]
    left: list[str]
    has_model: bool
    logs: str

    @property
    def hangs(self) -> list[str]:
        """Hosts that did not end."""
        return [host for host, code in self.codes.items() if code is None]


class Ground(NamedTuple):
    """What cases stand on: the channel that `make_large` made, and the image's name where there is one."""

    large: Path
    image: str | None


def run(case: Case, layout: Layout, pace: Pace, folder: Path, ground: Ground) -> Outcome:
    """Run a case to its end, or to the cap; `folder` must not exist yet."""
    with _lab(case, layout, pace, folder, ground.image) as lab:
        case.job.install(lab, ground.large)
        culprit = lab.hosts[layout.culprit]
        if case.before is not None:
            case.before(lab, culprit)
        for name in lab.names:
            if not (case.absent and name == culprit.name):
                lab.start(name)
        case.strike(lab, culprit)
        tellers = [host for host in lab.hosts.values() if not (case.gone and host is culprit)]
        _wait(tellers, pace.cap)
        if case.afterwards is not None:
            case.afterwards(lab, culprit)
        return _look(lab, tellers)


def _lab(case: Case, layout: Layout, pace: Pace, folder: Path, image: str | None) -> Lab:
    if case.container is not None:
        assert image is not None
        special = (layout.culprit, case.container)
        return Containers(folder, layout.hosts, pace, case.environ, image, special)
    command = case.job.command(culprit=0 if layout.first else layout.hosts - 1)
    environ = {**case.job.environ, **case.environ}
    isolated = "network" in case.needs
    return Lab(folder, layout.hosts, command, pace, environ=environ, isolated=isolated)


def _wait(hosts: list[Host], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(host.exit_code() is None for host in hosts) and time.monotonic() < deadline:
        time.sleep(0.005)


def _look(lab: Lab, tellers: list[Host]) -> Outcome:
    ends = [host.ended_at for host in tellers]
    last = None if None in ends else max(filter(None, ends), default=lab.struck)
    left: list[str] = []
    if last is not None:
        left += _processes_left(lab)
    has_model = False
    for host in lab.hosts.values():
        left += _files_left(host)
        model = host.base / "model" / "xgboost-model"
        if model.exists() and not (has_model := is_whole(model)):
            left.append(f"half a model: {model}")
    return Outcome(
        None if last is None else last - lab.struck,
        {host.name: host.exit_code() for host in tellers},
        {host.name: host.failure.partition("\n")[0] for host in tellers},
        left,
        has_model,
        lab.logs(),
    )


def _processes_left(lab: Lab) -> list[str]:
    deadline = time.monotonic() + _CLEARING
    while processes := lab.processes():
        if time.monotonic() > deadline:
            return [f"process {process.pid}: {' '.join(process.cmdline())}" for process in processes]
        time.sleep(0.01)
    return []


def _files_left(host: Host) -> list[str]:
    """Temporary files, in the folders that the platform keeps and in the one for such files."""
    kept = [path for name in ("model", "output", "checkpoints") for path in (host.base / name).rglob(".*")]
    return [f"file {path}" for path in [*kept, *(host.base / "tmp").iterdir()]]


def is_whole(model: Path) -> bool:
    """Whether a model file can be loaded and has trees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(xgboost.Booster(model_file=bytearray(model.read_bytes())).num_boosted_rounds())
        except xgboost.core.XGBoostError:
            return False


def problems(case: Case, layout: Layout, outcome: Outcome) -> list[str]:
    """What is not as the case asks for; nothing when all is well."""
    found = [f"{host} hangs" for host in outcome.hangs] + outcome.left
    if not re.search(case.says, outcome.logs):
        found.append(f"nobody says {case.says!r}")
    codes = set(outcome.codes.values())
    if case.ending == "well" or (case.ending == "either" and codes == {0}):
        found += [f"{host} ended with {code}" for host, code in outcome.codes.items() if code != 0]
        found += [f"{host} has a failure file: {line}" for host, line in outcome.headlines.items() if line]
        return found if outcome.has_model else [*found, "there is no model"]
    found += [f"{host} ended with {code}" for host, code in outcome.codes.items() if code != 1]
    for host, line in outcome.headlines.items():
        if not is_named(case, layout, host, line):
            found.append(f"{host} does not name the culprit and the cause: {line!r}")
    return found


def is_named(case: Case, layout: Layout, host: str, line: str) -> bool:
    """Whether the first line of a host's failure file names the culprit and what it died of.

    A host that has lost the first one says just that: it cannot know which of the two was cut off, nor
    can a first host that has lost everybody.
    """
    culprit = r"algo-\d" if case.ending == "either" else layout.culprit
    if re.match(rf"{culprit}: .*(?:{case.cause})", line):
        return True
    if not case.unreachable:
        return False
    if host == "algo-1":
        return layout.first and re.match(r"algo-\d: .*(?:silent|lost contact)", line) is not None
    concerns = layout.first or host == layout.culprit
    return concerns and re.match(r"algo-\d: .*lost contact with algo-1\b", line) is not None
