"""What hosts say to each other: whoever connects and whatever comes, the job's loop goes on or ends with a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from treering.cluster import Cluster
from treering.door import PROTOCOL
from treering.errors import Failure, RingError
from treering.frames import LIMIT, Connection
from treering.launch import Launch
from treering.link import Link, dial, join
from treering.paths import Paths
from treering.rendezvous import Coordinator
from treering.settings import Settings

from .budget import FUZZ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    type Exceptions = list[dict[str, Any]]

_HOSTS = ("algo-1", "algo-2")
_ADDRESS = "127.0.0.1"
_SOON = 20.0  # seconds in which each of these conversations has to end

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(_HOSTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FAILURE = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["user", "lost", "peer", "oops"]) | _JSON,
        "host": _JSON,
        "sentence": _JSON,
        "details": _JSON,
    },
)
_POSITION = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("step", "phase", "done", "total", "unit"), _JSON)
)
_RANK = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("rank", "pid", "still", "silent", "state", "reports"), _JSON)
    | {"position": _POSITION | _JSON},
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "at": st.floats() | _JSON,
    "failure": _FAILURE | _JSON,
    "pairs": st.dictionaries(st.text(max_size=5), _JSON, max_size=3) | _JSON,
    "ranks": st.lists(_RANK | _JSON, max_size=2) | _JSON,
    "kept": _JSON,
    "job": st.just("fuzz") | _JSON,
    "host": st.just("algo-2") | _JSON,
    "protocol": st.just(PROTOCOL) | _JSON,
    "provider": st.just("tcp") | _JSON,
    "reason": _JSON,
    "final": _JSON,
}
_KINDS = ["join", "welcome", "refused", "beat", "fence", "failed", "stop", "done", "verdict", "finish", "?"]


def _sent(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Lines that are messages, at least nearly, and lines that are none."""
    message = st.builds(
        lambda kind, found: json.dumps({"type": kind, **found}).encode() + b"\n",
        st.sampled_from(_KINDS),
        st.fixed_dictionaries({}, optional=_FIELDS | fields),
    )
    line = message | st.binary(max_size=60) | st.just(b"[" * 5000 + b"\n")
    return st.lists(line, max_size=6).map(b"".join)


_JOINED = (
    json.dumps(
        {"type": "join", "protocol": PROTOCOL, "job": "fuzz", "host": "algo-2", "ranks": 1, "provider": "tcp"}
    ).encode()
    + b"\n"
)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Refusals are logged, thousands of them."""
    caplog.set_level(logging.CRITICAL)


def _launch(me: str, port: int) -> Launch:
    cluster = Cluster(_HOSTS, me, None, dict.fromkeys(_HOSTS, _ADDRESS))
    return Launch("fuzz", cluster, Settings(port=port, rendezvous_timeout=_SOON), Paths(), ("true",))


@contextlib.asynccontextmanager
async def _unexpected() -> AsyncIterator[Exceptions]:
    """What nobody caught inside: asyncio tells it to the loop instead of to anybody."""
    found: Exceptions = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield found
    await asyncio.sleep(0)
    assert not found


@contextlib.asynccontextmanager
async def _coordinator() -> AsyncIterator[int]:
    """The port of a first host that has joined itself; its coordinator must be usable to the end."""
    with socket.create_server((_ADDRESS, 0)) as probe:
        port = probe.getsockname()[1]
    launch = _launch("algo-1", port)
    coordinator = Coordinator(launch.job, launch.cluster, launch.settings)
    await coordinator.listen(_ADDRESS)
    own = await coordinator.local_link()
    await join(own, launch)
    yield port
    own.send("beat", at=1.0, ranks=[])
    while (answer := await own.receive()) is not None and answer["type"] not in {"beat", "verdict"}:
        pass
    assert answer is not None
    await own.close()


async def _send(port: int, sent: bytes) -> None:
    """Say it all, then hang up and wait until the other side has, too."""
    reader, writer = await asyncio.open_connection(_ADDRESS, port)
    writer.write(sent)
    with contextlib.suppress(ConnectionError):
        writer.write_eof()
        while await reader.read(2**16):
            pass
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@FUZZ
@given(sent=st.lists(_sent(job=_JSON), max_size=3))
def test_strangers_leave_the_rendezvous_as_it_was(sent: list[bytes]) -> None:
    """After any number of them, who do not know the job's name, the host that is expected is welcome."""

    async def check() -> None:
        async with asyncio.timeout(_SOON), _unexpected(), _coordinator() as port:
            for each in sent:
                await _send(port, each)
            host = await dial(_launch("algo-2", port), asyncio.get_running_loop().time() + _SOON)
            await host.close()

    asyncio.run(check())


@FUZZ
@given(sent=_sent())
def test_a_host_that_has_joined_may_say_anything(sent: bytes) -> None:
    """What makes no sense is that host's failure, and no exception of the coordinator's."""

    async def check() -> None:
        async with asyncio.timeout(_SOON), _unexpected(), _coordinator() as port:
            await _send(port, _JOINED + sent)

    asyncio.run(check())


@FUZZ
@example(sent=b'{"type": "fence", "pairs": {}}\n' * 2)  # which once was more than it could take
@given(sent=_sent())
def test_the_first_host_may_say_anything(sent: bytes) -> None:
    """A host ends with what it was told, or with the sentence that it lost the first host."""

    async def check() -> None:
        ours, theirs = socket.socketpair()
        connection = Connection(*await asyncio.open_connection(sock=ours, limit=LIMIT))
        link = Link(connection, _launch("algo-2", 1), list, lambda: None)
        fence = asyncio.ensure_future(link.exchange({}))
        await asyncio.sleep(0)  # it waits for an answer now
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        try:
            told = await asyncio.wait_for(link.outcome(), _SOON)
        except RingError as error:
            told = Failure.of(error, "algo-2")
        assert told is None or told.headline
        fence.cancel()
        theirs.close()
        await connection.close()

    asyncio.run(check())
