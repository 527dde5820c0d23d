"""`treering.worker.run_rank` in a real ring: every way to end other than to finish is a failure with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rank_programs import PATIENT, program

if TYPE_CHECKING:
    from conftest import Ring

_RANK = (
    "import ctypes, os, signal, sys, threading, time\n"
    "from treering.worker import run_rank\n"
    "class Odd(Exception):\n"
    "    def __str__(self): raise ValueError\n"
    "def work(paths, config, progress):\n"
    "    if config.resources.current_host == 'algo-1': time.sleep(1000)\n"
    "    FAULT\n"
    "run_rank(work)\n"
)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("raise OSError", "algo-2: OSError: no message"),
        ("raise TimeoutError", "algo-2: TimeoutError: no message"),
        ("raise SystemExit", "algo-2: something in its rank called sys.exit() before"),
        ("raise SystemExit(0)", "algo-2: something in its rank called sys.exit(0) before"),
        ("sys.exit(3)", "algo-2: something in its rank called sys.exit(3) before"),
        ("raise KeyboardInterrupt", "algo-2: KeyboardInterrupt: "),
        ("raise GeneratorExit", "algo-2: GeneratorExit: "),
        ("raise Odd", "algo-2: Odd: its message could not be read"),
        ("raise MemoryError", "algo-2: memory ran out (no message)"),
        ("bytearray(2**60)", "algo-2: memory ran out ("),
        ("os._exit(0)", "algo-2: rank 1 (pid "),
        ("os._exit(255)", "algo-2: rank 1 (pid "),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(1000)", "algo-2: KeyboardInterrupt: "),
        ("os.kill(os.getpid(), signal.SIGTERM)", "algo-2: rank 1 (pid "),
        ("os.kill(os.getpid(), signal.SIGHUP)", "algo-2: rank 1 (pid "),
        ("ctypes.string_at(0)", "algo-2: rank 1 (pid "),
        ("sys.stdout.close(); raise OSError(5, 'read error')", "algo-2: OSError: [Errno 5] read error"),
        ("threading.Thread(target=time.sleep, args=(1000,)).start(); raise OSError", "algo-2: OSError: "),
    ],
)
def test_whatever_ends_a_rank_ends_the_job(ring: Ring, fault: str, sentence: str) -> None:
    """Both hosts end non-zero and begin their failure with the culprit, whatever was raised or called."""
    ring.start(2, program(_RANK.replace("FAULT", fault)), PATIENT | {"RANKS_REPORT_DONE": "1"})
    assert set(ring.wait().values()) == {1}, ring.logs()
    for host in ring.hosts.values():
        assert host.failure.startswith(sentence), host.failure


def test_only_the_end_of_the_work_is_success(ring: Ring) -> None:
    """A rank that returns is done, though a thread of it would go on for ever."""
    text = _RANK.replace("time.sleep(1000)", "return").replace(
        "FAULT", "threading.Thread(target=time.sleep, args=(1000,)).start()"
    )
    ring.start(2, program(text), PATIENT | {"RANKS_REPORT_DONE": "1"})
    assert set(ring.wait().values()) == {0}, ring.logs()
