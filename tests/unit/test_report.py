"""`treering.report`: a rank's last word reaches its supervisor, whole, and from nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from treering.errors import Failure, Kind
from treering.frames import decode, encode
from treering.report import STATUS_VARIABLE

_RANK = """
import os, subprocess, sys
from treering.errors import Failure, Kind
from treering.report import Reporter
reporter = Reporter(os.environ)
"""
_REPORT = "reporter.failed(Failure(Kind.USER, 'algo-2', sys.argv[1], 'x' * int(sys.argv[2])))\n"


def _start(program: str, status: socket.socket | None, *arguments: str) -> subprocess.Popen[bytes]:
    """A rank of `program`, given one end of the status socket, or none."""
    environ = {name: value for name, value in os.environ.items() if name != STATUS_VARIABLE}
    descriptors = []
    if status is not None:
        descriptors = [status.fileno()]
        environ[STATUS_VARIABLE] = str(status.fileno())
    command = [sys.executable, "-c", _RANK + program, *arguments]
    return subprocess.Popen(command, env=environ, pass_fds=descriptors, stdout=subprocess.PIPE)


def _heard(ours: socket.socket) -> bytes:
    """All that comes until nobody holds the other end any more."""
    with ours.makefile("rb") as stream:
        return stream.read()


def test_a_failure_arrives_whole() -> None:
    """Even a long one, sent just before the process leaves hard."""
    ours, theirs = socket.socketpair()
    with ours, _start(_REPORT + "os._exit(1)", theirs, "Zürich is no number", "2000000") as rank:
        theirs.close()
        line = _heard(ours)
    assert rank.returncode == 1
    message = decode(line)
    assert message["type"] == "failed"
    expected = Failure(Kind.USER, "algo-2", "Zürich is no number", "x" * 2_000_000)
    assert Failure.from_json(message["failure"]) == expected


def test_a_rank_says_that_it_is_done() -> None:
    """The end of the work is a message of its own, so that a silent exit is no success."""
    ours, theirs = socket.socketpair()
    with ours, _start("reporter.done()", theirs):
        theirs.close()
        assert decode(_heard(ours)) == {"type": "done"}


def test_what_is_kept_of_a_stopped_job_is_told() -> None:
    """The sentence and whether the model is part of it arrive as given."""
    ours, theirs = socket.socketpair()
    with ours, _start("reporter.stopped('round 3 is kept', saved_model=True)", theirs):
        theirs.close()
        told = {"type": "stopped", "sentence": "round 3 is kept", "saved_model": True}
        assert decode(_heard(ours)) == told


def test_a_stop_is_heard_once_and_for_all() -> None:
    """Asking costs nothing before, and the answer stays yes after the line was read."""
    program = (
        "print(reporter.stop_requested(), flush=True); input()\n"
        "print(reporter.stop_requested(), reporter.stop_requested())"
    )
    ours, theirs = socket.socketpair()
    environ = os.environ | {STATUS_VARIABLE: str(theirs.fileno())}
    command = [sys.executable, "-c", _RANK + program]
    with (
        ours,
        theirs,
        subprocess.Popen(
            command, env=environ, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as rank,
    ):
        assert rank.stdout is not None
        assert rank.stdin is not None
        assert rank.stdout.readline() == b"False\n"
        ours.sendall(encode("stop"))
        rank.stdin.write(b"\n")
        rank.stdin.close()
        assert rank.stdout.read() == b"True True\n"


def test_a_supervisor_that_does_not_read_is_not_waited_for() -> None:
    """Reports of progress are dropped when the socket is full: the work goes on."""
    program = (
        "from treering.progress import Position\n"
        "for number in range(100_000): reporter.at(Position(1, 'training', number))\n"
        "print('on')"
    )
    ours, theirs = socket.socketpair()
    with ours, _start(program, theirs) as rank:
        theirs.close()
        assert rank.stdout is not None
        assert rank.stdout.read() == b"on\n"
        lines = _heard(ours).splitlines(keepends=True)
    assert [decode(line)["position"]["done"] for line in lines] == list(range(len(lines)))
    assert len(lines) < 100_000


def test_a_rank_without_a_supervisor_reports_to_nobody() -> None:
    """A rank that was started by hand goes on without a complaint."""
    with _start(
        _REPORT + "reporter.done(); print('on', reporter.stop_requested())", None, "sentence", "0"
    ) as rank:
        assert rank.stdout is not None
        assert rank.stdout.read() == b"on False\n"
    assert rank.returncode == 0


def test_a_supervisor_that_is_gone_is_no_further_trouble() -> None:
    """The report is dropped; the rank neither raises nor dies of it."""
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, _start(2 * _REPORT + "reporter.done(); print('on')", theirs, "sentence", "2000000") as rank:
        assert rank.stdout is not None
        assert rank.stdout.read() == b"on\n"
    assert rank.returncode == 0


def test_what_a_rank_starts_does_not_hold_the_socket() -> None:
    """The supervisor sees the end of the rank, though a program that it started lives on."""
    program = (
        "child = subprocess.Popen(['sleep', '100'], close_fds=False, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\nos._exit(0)"
    )
    ours, theirs = socket.socketpair()
    with ours, _start(program, theirs) as rank:
        theirs.close()
        assert rank.stdout is not None
        helper = int(rank.stdout.readline())
        try:
            assert _heard(ours) == b""
        finally:
            os.kill(helper, 9)
