from __future__ import annotations
import signal, sys, os, time
_MEET = "from treering.world import World; world = World(); world.barrier(); "
import pytest
def _program(text): return [sys.executable, "-c", text]

@pytest.mark.parametrize("n", range(4))
def test_sigterm_flood(ring, n) -> None:
    ring.start(2, _program(_MEET + "world.leave()"))
    a, b = ring.hosts.values()
    while a.process.poll() is None and b.process.poll() is None:
        pass
    other = b if a.process.poll() is not None else a
    while other.process.poll() is None:
        other.process.send_signal(signal.SIGTERM)
    assert set(ring.wait().values()) == {0}, ring.logs()
