"""`treering.supervisor` and `treering.rendezvous`: all hosts end alike, and say who was at fault.

Faults are put into rank programs of the tests' own or injected by signals, never by a hook in the product.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from rank_programs import FOREVER, MEET, PATIENT, announce, program, rank_pid, until

if TYPE_CHECKING:
    from conftest import Ring


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_that_end_well_end_the_job_well(ring: Ring, size: int) -> None:
    """Exit code 0 on every host, and no failure file."""
    ring.start(size, program(MEET + "world.leave()"))
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
        + MEET
        + f"\nif world.rank == {number}: {fault}\nworld.barrier(); world.barrier(); signal.pause()"
    )
    ring.start(3, program(text), PATIENT)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        first_line = host.failure.splitlines()[0]
        assert first_line.startswith(f"{culprit}: rank {number}"), first_line
        assert sentence in first_line


def test_several_ranks_on_a_host_are_named_by_rank(ring: Ring) -> None:
    """With two ranks a host, rank 3 lives on the second host and is the one that is named."""
    text = MEET + "import os, signal\nif world.rank == 3: os._exit(5)\nsignal.pause()"
    ring.start(2, program(text), PATIENT | {"TREERING_RANKS_PER_HOST": "2"})
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: rank 3 "), host.failure


def test_missing_hosts_are_named_when_the_deadline_is_over(ring: Ring) -> None:
    """The hosts that came end together, and say who came and who did not."""
    ring.start(4, program(MEET), {"TREERING_RENDEZVOUS_TIMEOUT": "2"}, absent=["algo-3", "algo-4"])
    assert ring.wait() == {"algo-1": 1, "algo-2": 1}
    for host in ring.hosts.values():
        first_line = host.failure.splitlines()[0]
        assert "found 2 of 4 hosts" in first_line
        assert "missing: algo-3, algo-4" in first_line


def test_a_first_host_that_never_comes_is_named(ring: Ring) -> None:
    """A host that reaches nobody says whom it tried to reach."""
    ring.start(2, program(MEET), {"TREERING_RENDEZVOUS_TIMEOUT": "1"}, absent=["algo-1"])
    assert ring.wait() == {"algo-2": 1}
    assert ring.hosts["algo-2"].failure.startswith("algo-1: algo-2 could not reach this host within 1 s")


def test_a_name_that_never_resolves_is_told(ring: Ring) -> None:
    """DNS is asked again until the deadline; then the sentence says that it was the name."""
    names = ["no-such-host-1.invalid", "no-such-host-2.invalid"]
    quick = {"TREERING_RENDEZVOUS_TIMEOUT": "1", "TREERING_ADDRESSES": ""}
    host = ring.start_host(names[1], names, program(MEET), quick)
    assert host.process.wait(60) == 1
    assert host.failure.startswith(
        f"{names[0]}: {names[1]} could not reach this host within 1 s (its name does not"
    )


def test_a_late_host_just_joins(ring: Ring) -> None:
    """A host that starts after the others have waited is welcome until the deadline."""
    names, command = ["algo-1", "algo-2"], program(MEET + "world.leave()")
    ring.start_host("algo-2", names, command)
    until(lambda: "host 2 of 2" in ring.hosts["algo-2"].log, "algo-2 has started and dials")
    ring.start_host("algo-1", names, command)
    assert set(ring.wait().values()) == {0}, ring.logs()


@pytest.mark.parametrize(("name", "value"), [("RANKS_PER_HOST", "2"), ("PROVIDER", "efa")])
def test_a_host_with_other_settings_is_named(ring: Ring, name: str, value: str) -> None:
    """Other ranks or another provider on one host end the job with both values, not with MPI's abort."""
    names, command = ["algo-1", "algo-2"], program(MEET + "world.leave()")
    ring.start_host("algo-1", names, command)
    ring.start_host("algo-2", names, command, {f"TREERING_{name}": value})
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith(f"algo-2: {name.lower()} is {value} on algo-2 and "), host.failure


def test_a_supervisor_imports_neither_mpi_nor_xgboost() -> None:
    """It has to be up, and able to report, before anything heavy is loaded."""
    look = "import sys, treering.supervisor; print(sorted({'mpi4py', 'xgboost', 'numpy', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ranks_are_told_their_world_and_their_network(ring: Ring) -> None:
    """Each rank finds the pinned network layer, the job's interface and its share of the cores."""
    names = ("PMI_RANK", "PMI_SIZE", "MPIR_CVAR_CH4_NETMOD", "FI_PROVIDER", "FI_TCP_IFACE", "OMP_NUM_THREADS")
    ring.start(2, program(f"import os; print([os.environ[n] for n in {names}])"))
    assert set(ring.wait().values()) == {0}, ring.logs()
    for rank, host in enumerate(ring.hosts.values()):
        assert str([str(rank), "2", "ofi", "tcp", "lo", "1"]) in host.log


def test_threads_wait_as_the_user_says(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP's threads soon leave their cores to others between rounds, unless the job's environment has a wish."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    command = program(f"import os; print([os.environ.get(n) for n in {names}])")
    hosts = ["algo-1", "algo-2"]
    ring.start_host("algo-1", hosts, command)
    ring.start_host("algo-2", hosts, command, {"OMP_WAIT_POLICY": "active"})
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert str([None, "1000"]) in ring.hosts["algo-1"].log
    assert str(["active", None]) in ring.hosts["algo-2"].log


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_sigterm_on_one_host_ends_all(ring: Ring, victim: str) -> None:
    """Whoever is asked to stop, all hosts end non-zero within the grace and say who was asked."""
    ring.start(2, program(MEET + announce("ready") + FOREVER), PATIENT)
    for name in ring.hosts:
        rank_pid(ring, name, "ready")
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
        "algo-1", names, program(f"import pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): pass")
    )
    done = ring.start_host("algo-2", names, program(announce("ran")))
    pid = rank_pid(ring, "algo-2", "ran")
    until(lambda: not psutil.pid_exists(pid), "the rank of algo-2 has ended")
    until(lambda: psutil.Process(done.process.pid).status() == psutil.STATUS_SLEEPING, "its supervisor knows")
    done.process.send_signal(signal.SIGTERM)
    gate.touch()
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert "changes nothing any more" in done.log


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_a_killed_supervisor_is_named_and_takes_its_rank_along(ring: Ring, victim: str) -> None:
    """The other hosts end at once; the rank of the dead supervisor does not live on."""
    ring.start(3, program(MEET + announce("ready") + FOREVER), PATIENT)
    pids = {host: rank_pid(ring, host, "ready") for host in ring.hosts}
    ring.hosts[victim].process.kill()
    codes = ring.wait()
    assert codes.pop(victim) == -signal.SIGKILL
    assert set(codes.values()) == {1}
    for name in codes:
        assert victim in ring.hosts[name].failure.splitlines()[0], ring.hosts[name].failure
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), "no rank is left")


@pytest.mark.parametrize("victim", ["algo-1", "algo-3"])
def test_a_frozen_host_is_lost_and_named(ring: Ring, victim: str) -> None:
    """A host whose supervisor is stopped falls silent; the others end and name it."""
    ring.start(3, program(MEET + announce("ready") + FOREVER), PATIENT)
    pids = [rank_pid(ring, name, "ready") for name in ring.hosts]
    ring.hosts[victim].process.send_signal(signal.SIGSTOP)
    for name, other in ring.hosts.items():
        if name != victim:
            assert other.process.wait(60) == 1
            assert victim in other.failure.splitlines()[0], other.failure
            assert "silent" in other.failure
    ring.hosts[victim].process.kill()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "no rank outlives its supervisor")


def test_a_helper_that_outlives_its_rank_hides_nothing(ring: Ring) -> None:
    """A process that a dead rank left in a session of its own holds its sockets: the death is told all the same."""
    text = (
        "import os, signal, time, pathlib; from treering.report import Reporter; r = Reporter(os.environ); "
        + MEET
        + "\nif world.rank == 1:\n"
        + "    helper = os.fork()\n"
        + "    p = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'helper')\n"
        + "    if helper == 0: os.setsid(); time.sleep(100); p.with_name('own end').touch(); os._exit(0)\n"
        + "    p.write_text(str(helper))\n"
        + "    os.kill(os.getpid(), signal.SIGKILL)\n"
        + "signal.pause()"
    )
    ring.start(2, program(text), PATIENT)
    assert set(ring.wait().values()) == {1}
    base = ring.hosts["algo-2"].base
    assert not (base / "own end").exists(), "the job waited for the helper"
    assert not psutil.pid_exists(int((base / "helper").read_text())), "the helper outlives the job"
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: rank 1 "), host.failure


@pytest.mark.parametrize("end", ["world.leave()", "os._exit(7)"])
def test_no_process_of_a_job_outlives_it(ring: Ring, end: str) -> None:
    """Not even one in a session of its own whose parents are gone, after a good end and after a bad one."""
    text = (
        "import os, time, pathlib; "
        + MEET
        + "\nif os.fork() == 0:\n"
        + "    os.setsid()\n"
        + "    if os.fork() != 0: os._exit(0)\n"
        + "    "
        + announce("orphan")
        + "time.sleep(1000)\n"
        + "os.wait()\n"
        + "while not pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'orphan').exists(): time.sleep(0.01)\n"
        + end
    )
    ring.start(2, program(text), PATIENT)
    orphans = [rank_pid(ring, name, "orphan") for name in ring.hosts]
    codes = set(ring.wait().values())
    assert codes == ({0} if end == "world.leave()" else {1}), ring.logs()
    assert not any(psutil.pid_exists(pid) for pid in orphans)


def test_a_rank_that_leaves_without_finalizing_is_told(ring: Ring) -> None:
    """Exit code 0 between MPI_Init and MPI_Finalize leaves the others waiting: it is a failure, and named."""
    ring.start(2, program(MEET + "\nif world.rank == 1: import os; os._exit(0)\nworld.leave()"), PATIENT)
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: rank 1 "), host.failure


@pytest.mark.parametrize("attempt", range(5))
def test_sigterm_on_the_way_out_changes_nothing(ring: Ring, attempt: int) -> None:
    """Compose stops the others as soon as the first host has ended: their exit code stays 0 to the very end."""
    del attempt
    ring.start(2, program(MEET + "world.leave()"))
    processes = [host.process for host in ring.hosts.values()]
    until(lambda: any(process.poll() is not None for process in processes), "a host has ended")
    for process in processes:
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_an_unwritable_model_folder_is_told_before_any_work(ring: Ring) -> None:
    """The rank program never runs; every host ends with the sentence that names the folder."""
    names, command = ["algo-1", "algo-2"], program("raise SystemExit(9)")
    blocked = ring.folder / "algo-1"
    blocked.mkdir(parents=True)
    (blocked / "model").write_text("a file where a folder should be")
    for name in names:
        ring.start_host(name, names, command)
    assert set(ring.wait().values()) == {1}
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-1: cannot write to "), host.failure
        assert str(os.getuid()) in host.failure
