"""`treering.supervisor` and `treering.rendezvous`: all hosts end alike, and say who was at fault.

Faults are put into rank programs of the tests' own or injected by signals, never by a hook in the product.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from treering.rendezvous import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ring

_MEET = "from treering.world import World; world = World(); world.barrier(); "
_FOREVER = "import signal; signal.pause()"
_PATIENT = {"TREERING_HEARTBEAT_INTERVAL": "0.2", "TREERING_LOST_TIMEOUT": "3"}


def _program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def _until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition that another process brings about; fail when it never comes."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def _rank_pid(ring: Ring, host: str, marker: str) -> int:
    """Pid that the rank on `host` wrote to the file called `marker` in its tree."""
    path = ring.hosts[host].base / marker
    _until(lambda: path.exists() and path.read_text(), f"{host} writes {marker}")
    return int(path.read_text())


def _announce(marker: str) -> str:
    """Program text by which a rank writes its pid into its host's tree."""
    return (
        f"import os, pathlib; p = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], {marker!r}); "
        "t = p.with_suffix('.part'); t.write_text(str(os.getpid())); t.rename(p); "
    )


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_that_end_well_end_the_job_well(ring: Ring, size: int) -> None:
    """Exit code 0 on every host, and no failure file."""
    ring.start(size, _program(_MEET + "world.leave()"))
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert not any(host.failure for host in ring.hosts.values())


@pytest.mark.parametrize("culprit", ["algo-1", "algo-2"])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("os._exit(7)", "ended with exit code 7"),
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os.abort()", "was killed by SIGABRT"),
    ],
)
def test_a_rank_that_dies_ends_every_host(ring: Ring, culprit: str, fault: str, sentence: str) -> None:
    """Every host ends non-zero and its failure file begins with the culprit and how it died."""
    number = int(culprit[-1]) - 1
    text = (
        "import os, signal, sys; "
        + _MEET
        + f"\nif world.rank == {number}: {fault}\nworld.barrier(); world.barrier(); signal.pause()"
    )
    ring.start(3, _program(text), _PATIENT)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        first_line = host.failure.splitlines()[0]
        assert first_line.startswith(f"{culprit}: rank {number}"), first_line
        assert sentence in first_line


def test_several_ranks_on_a_host_are_named_by_rank(ring: Ring) -> None:
    """With two ranks a host, rank 3 lives on the second host and is the one that is named."""
    text = _MEET + "import os, signal\nif world.rank == 3: os._exit(5)\nsignal.pause()"
    ring.start(2, _program(text), _PATIENT | {"TREERING_RANKS_PER_HOST": "2"})
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: rank 3 "), host.failure


def test_missing_hosts_are_named_when_the_deadline_is_over(ring: Ring) -> None:
    """The hosts that came end together, and say who came and who did not."""
    ring.start(4, _program(_MEET), {"TREERING_RENDEZVOUS_TIMEOUT": "2"}, absent=["algo-3", "algo-4"])
    assert ring.wait() == {"algo-1": 1, "algo-2": 1}
    for host in ring.hosts.values():
        first_line = host.failure.splitlines()[0]
        assert "found 2 of 4 hosts" in first_line
        assert "missing: algo-3, algo-4" in first_line


def test_a_first_host_that_never_comes_is_named(ring: Ring) -> None:
    """A host that reaches nobody says whom it tried to reach."""
    ring.start(2, _program(_MEET), {"TREERING_RENDEZVOUS_TIMEOUT": "1"}, absent=["algo-1"])
    assert ring.wait() == {"algo-2": 1}
    assert ring.hosts["algo-2"].failure.startswith("algo-1: algo-2 could not reach this host within 1 s")


def test_a_name_that_never_resolves_is_told(ring: Ring) -> None:
    """DNS is asked again until the deadline; then the sentence says that it was the name."""
    names = ["no-such-host-1.invalid", "no-such-host-2.invalid"]
    quick = {"TREERING_RENDEZVOUS_TIMEOUT": "1", "TREERING_ADDRESSES": ""}
    host = ring.start_host(names[1], names, _program(_MEET), quick)
    assert host.process.wait(60) == 1
    assert host.failure.startswith(
        f"{names[0]}: {names[1]} could not reach this host within 1 s (its name does not"
    )


def test_a_late_host_just_joins(ring: Ring) -> None:
    """A host that starts after the others have waited is welcome until the deadline."""
    names, command = ["algo-1", "algo-2"], _program(_MEET + "world.leave()")
    ring.start_host("algo-2", names, command)
    _until(lambda: "host 2 of 2" in ring.hosts["algo-2"].log, "algo-2 has started and dials")
    ring.start_host("algo-1", names, command)
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_a_host_of_another_job_is_refused_and_harms_nobody(ring: Ring) -> None:
    """A host with another job name is told so and ends; the job goes on without a hitch."""
    names = ["algo-1", "algo-2"]
    command = _program(_MEET + "world.leave()")
    ring.start_host("algo-1", names, command)
    stranger = ring.start_host("algo-2", names, command, job="another-job")
    assert stranger.process.wait(60) == 1
    assert "refused" in stranger.failure
    assert "another-job" in stranger.failure
    ring.hosts.pop("algo-2")
    stranger.base.rename(stranger.base.with_name("stranger"))
    ring.start_host("algo-2", names, command)
    assert set(ring.wait().values()) == {0}, ring.logs()


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff" * 50, b"[1, 2]\n", b'{"type": "join"}\n', b"{" * 9_000_000],
)
def test_strangers_on_the_port_do_not_disturb(ring: Ring, sent: bytes) -> None:
    """Idle connections and garbage end themselves, not the job."""
    names, command = ["algo-1", "algo-2"], _program(_MEET + "world.leave()")
    ring.start_host("algo-1", names, command)

    def connected() -> bool:
        try:
            stranger = socket.create_connection(("127.0.0.1", ring.port))
        except ConnectionRefusedError:
            return False
        strangers.append(stranger)
        return True

    strangers: list[socket.socket] = []
    _until(connected, "algo-1 listens")
    try:
        strangers[0].sendall(sent)
    except ConnectionError:
        assert len(sent) > 1_000_000  # cut off in the middle of it: refused as it should be
    ring.start_host("algo-2", names, command)
    assert set(ring.wait().values()) == {0}, ring.logs()
    strangers[0].close()
    if sent.endswith(b"\n"):  # what says nothing is still waited for when the job ends
        assert re.search("refused a connection|closed a connection", ring.hosts["algo-1"].log)


@pytest.mark.parametrize(("name", "value"), [("RANKS_PER_HOST", "2"), ("PROVIDER", "efa")])
def test_a_host_with_other_settings_is_named(ring: Ring, name: str, value: str) -> None:
    """Other ranks or another provider on one host end the job with both values, not with MPI's abort."""
    names, command = ["algo-1", "algo-2"], _program(_MEET + "world.leave()")
    ring.start_host("algo-1", names, command)
    ring.start_host("algo-2", names, command, {f"TREERING_{name}": value})
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith(f"algo-2: {name.lower()} is {value} on algo-2 and "), host.failure


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        ({"protocol": 0, "job": "test-job", "host": "algo-2"}, "it speaks protocol 0"),
        (
            {"protocol": PROTOCOL, "job": "test-job", "host": "algo-9"},
            "'algo-9' is not in resourceconfig.json",
        ),
        ({"protocol": PROTOCOL, "job": "test-job", "host": "algo-1"}, "'algo-1' has joined already"),
    ],
)
def test_who_does_not_belong_is_refused_with_the_reason(
    ring: Ring, join: dict[str, object], reason: str
) -> None:
    """Another protocol, an unknown host and a second host of a name hear why, and the job waits on."""
    names, command = ["algo-1", "algo-2"], _program(_MEET + "world.leave()")
    first = ring.start_host("algo-1", names, command)
    _until(lambda: "host 1 of 2" in first.log, "algo-1 has started")
    answers: list[bytes] = []

    def refused() -> bool:
        try:
            with (
                socket.create_connection(("127.0.0.1", ring.port)) as newcomer,
                newcomer.makefile("rb") as answer,
            ):
                newcomer.sendall(json.dumps({"type": "join", **join}).encode() + b"\n")
                answers.append(answer.readline())
        except ConnectionRefusedError:
            return False
        return True

    _until(refused, "algo-1 listens")
    assert reason in json.loads(answers[-1])["reason"]
    ring.start_host("algo-2", names, command)
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert reason in first.log


def test_a_supervisor_imports_neither_mpi_nor_xgboost() -> None:
    """It has to be up, and able to report, before anything heavy is loaded."""
    look = "import sys, treering.supervisor; print(sorted({'mpi4py', 'xgboost', 'numpy', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ranks_are_told_their_world_and_their_network(ring: Ring) -> None:
    """Each rank finds the pinned network layer, the job's interface and its share of the cores."""
    names = ("PMI_RANK", "PMI_SIZE", "MPIR_CVAR_CH4_NETMOD", "FI_PROVIDER", "FI_TCP_IFACE", "OMP_NUM_THREADS")
    ring.start(2, _program(f"import os; print([os.environ[n] for n in {names}])"))
    assert set(ring.wait().values()) == {0}, ring.logs()
    for rank, host in enumerate(ring.hosts.values()):
        assert str([str(rank), "2", "ofi", "tcp", "lo", "1"]) in host.log


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_sigterm_on_one_host_ends_all(ring: Ring, victim: str) -> None:
    """Whoever is asked to stop, all hosts end non-zero within the grace and say who was asked."""
    ring.start(2, _program(_MEET + _announce("ready") + _FOREVER), _PATIENT)
    for name in ring.hosts:
        _rank_pid(ring, name, "ready")
    ring.hosts[victim].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith(f"{victim}: the job was stopped: {victim} received SIGTERM"), (
            host.failure
        )


def test_sigterm_after_the_work_is_done_changes_nothing(ring: Ring) -> None:
    """Compose stops all containers when the first one ends: a host whose ranks are through still ends 0."""
    names = ["algo-1", "algo-2"]
    gate = ring.folder / "gate"
    ring.start_host(
        "algo-1", names, _program(f"import pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): pass")
    )
    done = ring.start_host("algo-2", names, _program(_announce("ran")))
    pid = _rank_pid(ring, "algo-2", "ran")
    _until(lambda: not psutil.pid_exists(pid), "the rank of algo-2 has ended")
    _until(
        lambda: psutil.Process(done.process.pid).status() == psutil.STATUS_SLEEPING, "its supervisor knows"
    )
    done.process.send_signal(signal.SIGTERM)
    gate.touch()
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert "changes nothing any more" in done.log


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_a_killed_supervisor_is_named_and_takes_its_rank_along(ring: Ring, victim: str) -> None:
    """The other hosts end at once; the rank of the dead supervisor does not live on."""
    ring.start(3, _program(_MEET + _announce("ready") + _FOREVER), _PATIENT)
    pids = {host: _rank_pid(ring, host, "ready") for host in ring.hosts}
    ring.hosts[victim].process.kill()
    codes = ring.wait()
    assert codes.pop(victim) == -signal.SIGKILL
    assert set(codes.values()) == {1}
    for name in codes:
        assert victim in ring.hosts[name].failure.splitlines()[0], ring.hosts[name].failure
    _until(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), "no rank is left")


@pytest.mark.parametrize("victim", ["algo-1", "algo-3"])
def test_a_frozen_host_is_lost_and_named(ring: Ring, victim: str) -> None:
    """A host whose supervisor is stopped falls silent; the others end and name it."""
    ring.start(3, _program(_MEET + _announce("ready") + _FOREVER), _PATIENT)
    pids = [_rank_pid(ring, name, "ready") for name in ring.hosts]
    ring.hosts[victim].process.send_signal(signal.SIGSTOP)
    for name, other in ring.hosts.items():
        if name != victim:
            assert other.process.wait(60) == 1
            assert victim in other.failure.splitlines()[0], other.failure
            assert "silent" in other.failure
    ring.hosts[victim].process.kill()
    _until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "no rank outlives its supervisor")


def test_a_helper_that_outlives_its_rank_hides_nothing(ring: Ring) -> None:
    """A process that a dead rank left in a session of its own holds its sockets: the death is told all the same."""
    text = (
        "import os, signal, pathlib; from treering.report import Reporter; r = Reporter(os.environ); "
        + _MEET
        + "\nif world.rank == 1:\n"
        + "    helper = os.fork()\n"
        + "    if helper == 0: os.setsid(); signal.alarm(100); signal.pause()\n"
        + "    p = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'helper'); p.write_text(str(helper))\n"
        + "    os.kill(os.getpid(), signal.SIGKILL)\n"
        + "signal.pause()"
    )
    ring.start(2, _program(text), _PATIENT)
    assert set(ring.wait().values()) == {1}
    helper = int((ring.hosts["algo-2"].base / "helper").read_text())
    assert psutil.pid_exists(helper), "the job waited for the helper"
    os.kill(helper, signal.SIGKILL)
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: rank 1 "), host.failure


def test_a_rank_that_leaves_without_finalizing_is_told(ring: Ring) -> None:
    """Exit code 0 between MPI_Init and MPI_Finalize leaves the others waiting: it is a failure, and named."""
    ring.start(2, _program(_MEET + "\nif world.rank == 1: import os; os._exit(0)\nworld.leave()"), _PATIENT)
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: rank 1 "), host.failure


@pytest.mark.parametrize("attempt", range(5))
def test_sigterm_on_the_way_out_changes_nothing(ring: Ring, attempt: int) -> None:
    """Compose stops the others as soon as the first host has ended: their exit code stays 0 to the very end."""
    del attempt
    ring.start(2, _program(_MEET + "world.leave()"))
    processes = [host.process for host in ring.hosts.values()]
    _until(lambda: any(process.poll() is not None for process in processes), "a host has ended")
    for process in processes:
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_an_unwritable_model_folder_is_told_before_any_work(ring: Ring) -> None:
    """The rank program never runs; every host ends with the sentence that names the folder."""
    names, command = ["algo-1", "algo-2"], _program("raise SystemExit(9)")
    blocked = ring.folder / "algo-1"
    blocked.mkdir(parents=True)
    (blocked / "model").write_text("a file where a folder should be")
    for name in names:
        ring.start_host(name, names, command)
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-1: cannot write to "), host.failure
        assert str(os.getuid()) in host.failure
