"""SIGTERM on a running job: the round is finished and kept, everywhere, or the job ends at once and says so."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from rank_programs import FOREVER, MEET, PATIENT, program, rank_pid, until

if TYPE_CHECKING:
    from conftest import Ring

# Rounds until one host was asked to stop; then all agree, "save", and end.
_TRAINER = (
    "import numpy as np, time, pathlib, os\n"
    "from treering.worker import run_rank\n"
    "def train(paths, config, progress):\n"
    f"    {MEET}\n"
    "    progress.phase('PHASE', 100_000, 'rounds')\n"
    "    for done in range(1, 100_000):\n"
    "        time.sleep(0.01)\n"
    "        progress.advance(done)\n"
    "        pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'ready').write_text(str(os.getpid()))\n"
    "        if world.allreduce(np.array([progress.stop_requested()], np.int64), 'max')[0]:\n"
    "            WHEN_STOPPED\n"
    "            break\n"
    "    world.leave()\n"
    "run_rank(train)\n"
)
_SAYS = "progress.stopped(f'the checkpoint of round {done} is in /opt/ml/checkpoints', saved_model=SAVED)"
_REPORTS = PATIENT | {"RANKS_REPORT_DONE": "1"}


def _trainer(when_stopped: str, *, saved: bool = False, phase: str = "training") -> list[str]:
    text = _TRAINER.replace("WHEN_STOPPED", when_stopped).replace("SAVED", str(saved)).replace("PHASE", phase)
    return program(text)


def _start(ring: Ring, command: list[str], settings: dict[str, str] | None = None) -> dict[str, int]:
    """Three hosts in the middle of their rounds; the pids of their ranks."""
    ring.start(3, command, _REPORTS | (settings or {}))
    return {name: rank_pid(ring, name, "ready") for name in ring.hosts}


@pytest.mark.parametrize("victim", ["algo-1", "algo-3"])
def test_the_round_is_finished_and_kept(ring: Ring, victim: str) -> None:
    """All hosts end non-zero, and their failure says who was asked to stop and what is kept."""
    _start(ring, _trainer(_SAYS))
    ring.hosts[victim].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {1}, ring.logs()
    beginning = f"{victim}: the job was stopped: {victim} received SIGTERM; the checkpoint of round "
    for host in ring.hosts.values():
        assert host.failure.startswith(beginning), host.failure
        assert "is in /opt/ml/checkpoints" in host.failure


def test_a_saved_model_is_a_success(ring: Ring) -> None:
    """With the model saved on request, every host ends with 0 and leaves no failure."""
    _start(ring, _trainer(_SAYS, saved=True))
    ring.hosts["algo-2"].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert not any(host.failure for host in ring.hosts.values())


def test_sigterm_on_all_hosts_is_one_stop(ring: Ring) -> None:
    """As the platform does it: no host takes the others' signal for a second one of its own."""
    _start(ring, _trainer(_SAYS, saved=True))
    for host in ring.hosts.values():
        host.process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_before_training_the_end_comes_at_once(ring: Ring) -> None:
    """While data is loaded there is nothing to finish: ranks are ended without being asked."""
    _start(ring, _trainer("pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'asked').touch()", phase="loading"))
    ring.hosts["algo-2"].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        assert host.failure == "algo-2: the job was stopped: algo-2 received SIGTERM\n"
        assert not (host.base / "asked").exists()


def test_a_host_that_is_stopped_before_it_has_joined_tells_the_others(ring: Ring) -> None:
    """They end as soon as it joins, and do not wait for it as for one that never comes."""
    names, command = ["algo-1", "algo-2"], program(MEET + FOREVER)
    first = ring.start_host("algo-1", names, command)
    until(lambda: "host 1 of 2" in first.log, "the first host is up")
    psutil.Process(first.process.pid).suspend()
    second = ring.start_host("algo-2", names, command)
    until(lambda: "host 2 of 2" in second.log, "the second host is up")
    second.process.send_signal(signal.SIGTERM)
    psutil.Process(first.process.pid).resume()
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        assert host.failure == "algo-2: the job was stopped: algo-2 received SIGTERM\n"


def test_a_first_host_that_is_stopped_early_tells_those_that_come(ring: Ring) -> None:
    """Whoever is on the way meets it for a few seconds more, and learns why the job has ended."""
    names, command = ["algo-1", "algo-2"], program(MEET + FOREVER)
    second = ring.start_host("algo-2", names, command)
    until(lambda: "host 2 of 2" in second.log, "the second host is up")
    first = ring.start_host("algo-1", names, command)
    until(lambda: "host 1 of 2" in first.log, "the first host is up")
    first.process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        assert host.failure == "algo-1: the job was stopped: algo-1 received SIGTERM\n"


def test_a_host_that_is_stopped_alone_ends(ring: Ring) -> None:
    """Nobody is there to be told: it says so for itself, long before `rendezvous_timeout`."""
    alone = ring.start_host("algo-2", ["algo-1", "algo-2"], program(MEET + FOREVER))
    until(lambda: "host 2 of 2" in alone.log, "it is up")
    alone.process.send_signal(signal.SIGTERM)
    assert ring.wait() == {"algo-2": 1}
    assert alone.failure == "algo-2: the job was stopped: algo-2 received SIGTERM\n"


def test_a_round_that_does_not_end_is_ended(ring: Ring) -> None:
    """After the grace the job ends all the same, and says where it was."""
    pids = _start(ring, _trainer("time.sleep(1000)"), {"TREERING_STOP_GRACE": "1"})
    ring.hosts["algo-2"].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        beginning = "algo-2: the job was stopped: algo-2 received SIGTERM, and after stop_grace=1 s rank "
        assert host.failure.startswith(beginning), host.failure
        assert " was still in training, " in host.failure
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(ring: Ring, second: signal.Signals) -> None:
    """Whoever asks twice does not want to wait."""
    _start(ring, _trainer("time.sleep(1000)"))
    victim = ring.hosts["algo-3"]
    victim.process.send_signal(signal.SIGTERM)
    until(lambda: "asked to stop: the ranks finish their round" in victim.log, "the stop has come round")
    victim.process.send_signal(second)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        assert host.failure.startswith(f"algo-3: the job was stopped: algo-3 received {second.name} again")


def test_a_host_that_is_killed_while_stopping_does_not_hide_the_stop(ring: Ring) -> None:
    """The platform kills what is left: those that still can say that the job was stopped, and what came then."""
    _start(ring, _trainer("time.sleep(1000)"))
    for name in ("algo-1", "algo-3"):
        host = ring.hosts[name]
        host.process.send_signal(signal.SIGTERM)
        until(lambda host=host: "asked to stop" in host.log, "the stop has come round")  # type: ignore[misc]  # a default
    ring.hosts["algo-3"].process.kill()
    codes = ring.wait()
    assert codes == {"algo-1": 1, "algo-2": 1, "algo-3": -signal.SIGKILL}
    for name in ("algo-1", "algo-2"):
        failure = ring.hosts[name].failure
        assert failure.startswith("algo-1: the job was stopped: algo-1 received SIGTERM; before it had"), (
            failure
        )
        assert "algo-3: its supervisor ended without a word" in failure


def test_an_error_while_stopping_is_told(ring: Ring) -> None:
    """A checkpoint that cannot be written is no orderly stop: the reason comes first."""
    from_errors = "from treering.errors import PlatformError; raise PlatformError('the disk is full')"
    _start(ring, _trainer(f"if world.rank == 1: {from_errors}"))
    ring.hosts["algo-1"].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        assert host.failure.startswith("algo-2: the disk is full"), host.failure


def test_the_last_round_is_no_stop(ring: Ring) -> None:
    """Ranks that end well before they noticed have done their work: exit code 0."""
    _start(ring, _trainer("pass", saved=True))
    ring.hosts["algo-1"].process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {0}, ring.logs()
