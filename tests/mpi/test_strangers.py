"""`treering.door` on a running ring: whoever else finds the port can neither stop nor crash the job."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest
from rank_programs import MEET, PATIENT, program, until

from treering.door import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Host, Ring

_NAMES = ["algo-1", "algo-2"]
_COMMAND = program(MEET + "world.leave()")


@pytest.fixture
def first(ring: Ring) -> Host:
    """The first host of two, which listens and waits for the other one."""
    host = ring.start_host("algo-1", _NAMES, _COMMAND, PATIENT)

    def listens() -> bool:
        with contextlib.suppress(ConnectionRefusedError), _stranger(ring):
            return True
        return False

    until(listens, "algo-1 listens")
    return host


@contextlib.contextmanager
def _stranger(ring: Ring) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", ring.port)) as stranger:
        yield stranger


def _finish(ring: Ring) -> None:
    """The other host comes, and the job ends well."""
    ring.start_host("algo-2", _NAMES, _COMMAND, PATIENT)
    assert set(ring.wait().values()) == {0}, ring.logs()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\xff" * 50 + b"\n",
        b"[1, 2]\n",
        b'{"type": "join"}\n',
        b'{"type": "join", "job": ["test-job"], "host": {"algo-2": 1}, "protocol": null}\n',
        b'{"type": "verdict", "failure": {"kind": "user", "host": "x", "sentence": "", "details": ""}}\n',
        b'{"type": "stop", "failure": {"kind": "user", "host": "x", "sentence": "", "details": ""}}\n',
        b'{"type": "done", "kept": null}\n' * 3,
        b"{" * 9_000_000,
        b"[" * 100_000 + b"\n",
    ],
    ids=lambda sent: repr(sent[:30]),
)
def test_what_a_stranger_sends_does_not_disturb(ring: Ring, first: Host, sent: bytes) -> None:
    """Silence, other protocols, our own words without a name, and endless lines end themselves, not the job."""
    with _stranger(ring) as stranger:
        try:
            stranger.sendall(sent)
        except ConnectionError:
            assert len(sent) > 1_000_000  # cut off in the middle of it: refused as it should be
        _finish(ring)
    if sent.endswith(b"\n"):  # what says nothing is still waited for when the job ends
        assert "refused a connection" in first.log


def test_other_interfaces_hear_nothing(ring: Ring, first: Host) -> None:
    """Only the job's own address is listened on: at another one of this machine, nobody answers."""
    assert first.process.poll() is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", ring.port))
    _finish(ring)


def test_connections_that_come_and_go_do_not_disturb(ring: Ring, first: Host) -> None:
    """A port scan is a few refused connections, most of them without a log line."""
    for _ in range(200):
        with _stranger(ring):
            pass
    until(lambda: "more are not logged" in first.log, "the strangers are counted")
    assert first.log.count("refused a connection") == 50
    _finish(ring)


def test_many_slow_connections_do_not_crowd_hosts_out(ring: Ring, first: Host) -> None:
    """Hundreds of connections that send a byte now and then: the oldest are closed, and a host still gets in."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_stranger(ring)) for _ in range(300)]
        for each in slow:
            with contextlib.suppress(ConnectionError):
                each.sendall(b"{")
        assert _is_closed(slow[0])
        _finish(ring)
    assert first.process.returncode == 0


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes it; waits for as long as a stranger may stay."""
    connection.settimeout(60)
    with contextlib.suppress(ConnectionError):
        return not connection.recv(4096)
    return True


def test_nobody_gets_in_once_all_hosts_have_joined(ring: Ring) -> None:
    """The port closes behind the last host: a stranger that comes later finds nobody."""
    gate = ring.folder / "gate"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
    ring.start(2, program(MEET + "\n" + wait + "world.leave()"), PATIENT)
    until(lambda: "all 2 hosts have joined" in ring.hosts["algo-1"].log, "all have joined")
    with pytest.raises(ConnectionRefusedError), _stranger(ring):
        pass
    gate.touch()
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_a_host_of_another_job_is_refused_and_harms_nobody(ring: Ring, first: Host) -> None:
    """A host with another job name is told so and ends; the job goes on without a hitch."""
    brief = PATIENT | {"TREERING_RENDEZVOUS_TIMEOUT": "1"}
    stranger = ring.start_host("algo-2", _NAMES, _COMMAND, brief, job="another-job")
    assert stranger.process.wait(60) == 1
    assert stranger.failure.startswith("algo-2: algo-1 refused this host: it belongs to job 'another-job', ")
    ring.hosts.pop("algo-2")
    stranger.base.rename(stranger.base.with_name("stranger"))
    _finish(ring)
    assert "it belongs to job 'another-job', not to 'test-job'" in first.log


def test_a_name_that_leads_to_another_job_first_is_asked_again(ring: Ring, first: Host) -> None:
    """Where two jobs share a network, the name of the first host may lead to the other job's for a while."""
    ring.start_host("algo-2", _NAMES, _COMMAND, PATIENT, job="second-job")
    until(lambda: "it belongs to job 'second-job'" in first.log, "the second job's host was refused")
    first.process.kill()
    first.process.wait()
    first.base.rename(first.base.with_name("first job"))
    ring.hosts.pop("algo-1")
    ring.start_host("algo-1", _NAMES, _COMMAND, PATIENT, job="second-job")
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_something_else_on_the_port_is_waited_out(ring: Ring) -> None:
    """A host that reaches another service at first joins when the first host is there."""
    with socket.create_server(("127.0.0.1", ring.port)) as service:
        ring.start_host("algo-2", _NAMES, _COMMAND, PATIENT)
        caller, _ = service.accept()
        with caller:
            assert b'"join"' in caller.recv(4096)
            caller.sendall(b"220 mail.example.com ESMTP\r\n")
            assert caller.recv(1) == b""  # it hangs up
    ring.start_host("algo-1", _NAMES, _COMMAND, PATIENT)
    assert set(ring.wait().values()) == {0}, ring.logs()


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
    ring: Ring, first: Host, join: dict[str, object], reason: str
) -> None:
    """Another protocol, an unknown host and a second host of a name hear why, and the job waits on."""
    with _stranger(ring) as newcomer, newcomer.makefile("rb") as answers:
        newcomer.sendall(json.dumps({"type": "join", **join}).encode() + b"\n")
        answer = json.loads(answers.readline())
    assert reason in answer["reason"]
    assert answer["final"]
    _finish(ring)
    assert reason in first.log
