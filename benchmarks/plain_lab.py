"""The fault matrix with plain XGBoost in treering's place, as far as it has what breaks."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from faults.host import Host, listening
from faults.lab import Lab, Pace
from faults.run import is_whole

if TYPE_CHECKING:
    import psutil
    from faults.case import Case, Layout
    from faults.host import Port

_REPOSITORY = Path(__file__).parents[1]
_CAP: Final = 60.0  # seconds after the fault until the job counts as hanging
_PACE = Pace({}, lateness=60.0, cap=_CAP)
# What it has not: a supervisor, a rendezvous, MPI, checkpoints, an answer to SIGTERM, a look at the disk beforehand.
_FOREIGN: Final = re.compile(
    "supervisor|rendezvous|MPI|checkpoint|SIGTERM|cannot be written|from the start|at once"
)


class _PlainHost(Host):
    """A host of which all there is is one rank."""

    def ranks(self) -> list[psutil.Process]:
        return [self.supervisor]

    def port(self, kind: Port) -> int | None:
        sockets = [
            each.port for each in listening(self.supervisor.pid) if each.anywhere == (kind == "worker")
        ]
        return sockets[0] if sockets else None


class _PlainLab(Lab):
    def make_host(self, name: str) -> Host:
        return _PlainHost(name, self.folder / name)


def applies(case: Case) -> bool:
    """Whether plain XGBoost can meet this fault, in the lab."""
    return case.container is None and not _FOREIGN.search(case.name)


def run(case: Case, layout: Layout, folder: Path, large: Path, *, isolated: bool) -> str:
    """Run a case; what the hosts other than the culprit do, in a few words."""
    culprit_rank = 0 if layout.first else layout.hosts - 1
    command = [sys.executable, "-m", "benchmarks.plain", case.job.action or "-", str(culprit_rank)]
    environ = {"PYTHONPATH": f"{_REPOSITORY}:{_REPOSITORY / 'tests'}"}
    with _PlainLab(folder, layout.hosts, command, _PACE, environ=environ, isolated=isolated) as lab:
        case.job.install(lab, large)
        culprit = lab.hosts[layout.culprit]
        if case.before is not None:
            case.before(lab, culprit)
        for name in lab.names:
            if not (case.absent and name == culprit.name):
                lab.start(name)
        case.strike(lab, culprit)
        at_fault = case.ending == "named" and case.kind != "disk"
        others = [host for host in lab.hosts.values() if not (at_fault and host is culprit)]
        deadline = lab.struck + _CAP
        while any(host.exit_code() is None for host in others) and time.monotonic() < deadline:
            time.sleep(0.01)
        return _describe(lab, others, culprit)


def _describe(lab: Lab, others: list[Host], culprit: Host) -> str:
    codes = [host.exit_code() for host in others]
    if None in codes:
        return f"hangs (> {_CAP:g} s)"
    seconds = max(host.ended_at or 0.0 for host in others) - lab.struck
    if not any(codes):
        return "goes on"
    rank = lab.names.index(culprit.name)
    named = rf"(?<!/){culprit.name}\b|{re.escape(lab.address(culprit.name))}\b|rank[:= ]+{rank}\b"
    words = "\n".join(host.log for host in others)
    who = "the host is named" if re.search(named, words) else "no host named"
    model = lab.first.base / "model" / "xgboost-model"
    half = ", half a model left" if model.exists() and not is_whole(model) else ""
    return f"ends in {seconds:.1f} s, {who}{half}"
