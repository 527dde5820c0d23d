"""`treering.frames`: whatever arrives is a message, the end, or an error, within bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import math
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.frames import LIMIT, Connection, FrameError, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@contextlib.asynccontextmanager
async def _connection() -> AsyncIterator[tuple[Connection, socket.socket]]:
    """One end as the product has it, the other as a bare socket."""
    ours, theirs = socket.socketpair()
    connection = Connection(*await asyncio.open_connection(sock=ours, limit=LIMIT))
    with theirs:
        yield connection, theirs
    await connection.close()


def _run[T](work: Callable[[Connection, socket.socket], Awaitable[T]]) -> T:
    async def inside() -> T:
        async with _connection() as (connection, theirs):
            return await work(connection, theirs)

    return asyncio.run(inside())


@given(st.text(), st.dictionaries(st.text().filter(lambda key: key not in {"kind", "type"}), _JSON))
def test_what_is_encoded_is_decoded(kind: str, fields: dict[str, object]) -> None:
    """Any JSON value comes back, and never takes more than one line."""
    line = encode(kind, **fields)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == {"type": kind, **fields}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[1, 2]\n",
        b'"type"\n',
        b'{"type": 1}\n',
        b'{"type": null}\n',
        b'{"kind": "beat"}\n',
        b'{"type": "beat"\n',
        b'{"type": "beat"} {"type": "beat"}\n',
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe\x00\n",
        b"\x16\x03\x01\x02\x00\n",
        b"[" * 100_000 + b"\n",
        b'{"type": ' * 100_000 + b"\n",
        b'{"type": "a", "number": ' + b"1" * 10_000 + b"}\n",
    ],
)
def test_garbage_is_no_message(line: bytes) -> None:
    """Other protocols, other JSON, endless nesting and endless numbers are all one kind of error."""
    with pytest.raises(FrameError):
        decode(line)


@given(st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_message_or_a_frame_error(line: bytes) -> None:
    """No input makes the reader fail in another way or return something that is no message."""
    try:
        message = decode(line)
    except FrameError:
        return
    assert isinstance(message["type"], str)


def test_messages_arrive_whole_and_in_order() -> None:
    """However the stream is cut, messages come as they were sent, and None after the last."""
    sent: list[tuple[str, dict[str, object]]] = [
        ("join", {"host": "algo-1"}),
        ("beat", {}),
        ("fence", {"pairs": {"a": "ü" * 1000}}),
    ]

    async def receive_all(connection: Connection, theirs: socket.socket) -> None:
        theirs.setblocking(False)
        stream = b"".join(encode(kind, **fields) for kind, fields in sent)
        for start in range(0, len(stream), 7):
            await asyncio.get_running_loop().sock_sendall(theirs, stream[start : start + 7])
        theirs.close()
        for kind, fields in sent:
            assert await connection.receive() == {"type": kind, **fields}
        assert await connection.receive() is None
        assert await connection.receive() is None

    _run(receive_all)


def test_two_connections_understand_each_other() -> None:
    """What one end sends, the other receives, up to the longest message there is."""

    async def both() -> None:
        ours, theirs = socket.socketpair()
        one = Connection(*await asyncio.open_connection(sock=ours, limit=LIMIT))
        other = Connection(*await asyncio.open_connection(sock=theirs, limit=LIMIT))
        text = "x" * (LIMIT - 100)
        one.send("fence", pairs=text)
        assert await other.receive() == {"type": "fence", "pairs": text}
        other.send("beat")
        assert await one.receive() == {"type": "beat"}
        await one.close()
        assert await other.receive() is None
        await other.close()

    asyncio.run(both())


@pytest.mark.parametrize("sent", [b"", b"{", b'{"type": "beat"}'])
def test_half_a_message_is_the_end(sent: bytes) -> None:
    """A host that dies while it speaks has said nothing, even if its words could be read."""

    async def receive(connection: Connection, theirs: socket.socket) -> object:
        theirs.sendall(sent)
        theirs.close()
        return await connection.receive()

    assert _run(receive) is None


def test_a_line_without_an_end_is_cut_off() -> None:
    """An endless line is an error long before it fills the memory: its sender is stopped on the way."""
    accepted = 0

    def flood(stranger: socket.socket) -> None:
        nonlocal accepted
        with contextlib.suppress(ConnectionError):
            while accepted < 64 * LIMIT:
                accepted += stranger.send(b"x" * 65536)

    async def receive(connection: Connection, theirs: socket.socket) -> None:
        thread = threading.Thread(target=flood, args=(theirs,))
        thread.start()
        with pytest.raises(FrameError, match="without an end"):
            await connection.receive()
        await connection.close()
        await asyncio.to_thread(thread.join)

    _run(receive)
    assert LIMIT < accepted < 4 * LIMIT


def test_a_reset_connection_is_the_end() -> None:
    """A process that was killed may reset its connections: that is no error here."""

    async def receive() -> object:
        with socket.create_server(("127.0.0.1", 0)) as server:
            streams = await asyncio.open_connection(*server.getsockname(), limit=LIMIT)
            peer, _ = server.accept()
            at_once = struct.pack("ii", 1, 0)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            peer.close()
            connection = Connection(*streams)
            received = await connection.receive()
            connection.send("beat")
            await connection.close()
            return received

    assert asyncio.run(receive()) is None


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET, errno.EPIPE])
def test_a_network_that_fails_is_the_end(number: int) -> None:
    """A host that was cut off ends its connection by a time-out or a missing route, not by a reset."""

    async def receive() -> object:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LIMIT)
        reader.set_exception(OSError(number, "as the kernel reports it"))
        connection = Connection(reader, writer)
        received = await connection.receive()
        theirs.close()
        await connection.close()
        return received

    assert asyncio.run(receive()) is None


def test_sending_to_nobody_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be sent any more is dropped in silence, before and after the connection is closed."""

    async def send(connection: Connection, theirs: socket.socket) -> None:
        theirs.close()
        for _ in range(10):
            connection.send("beat")
            assert await connection.receive() is None
        await connection.close()
        for _ in range(10):
            connection.send("beat")

    _run(send)
    assert not caplog.messages


def test_closing_sends_what_is_queued() -> None:
    """The last word before the end is heard."""

    async def close(connection: Connection, theirs: socket.socket) -> bytes:
        connection.send("verdict", failure={})
        await connection.close()
        return theirs.recv(1000)

    assert decode(_run(close)) == {"type": "verdict", "failure": {}}


def test_closing_does_not_wait_for_a_silent_peer() -> None:
    """A peer that reads nothing, with much still queued for it, is left behind."""

    async def close() -> int:
        ours, theirs = socket.socketpair()
        connection = Connection(*await asyncio.open_connection(sock=ours, limit=LIMIT))
        connection.send("fence", pairs="x" * LIMIT)
        await connection.close()
        received = 0
        theirs.setblocking(False)
        with theirs, contextlib.suppress(ConnectionError):
            while part := await asyncio.get_running_loop().sock_recv(theirs, 2**20):
                received += len(part)
        return received

    assert asyncio.run(close()) < LIMIT


def test_the_peer_is_named_for_log_lines() -> None:
    """A remote peer has an address and a port, a socket pair has none."""

    async def check() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address, port = server.getsockname()
            remote = Connection(*await asyncio.open_connection(address, port))
        assert remote.peer == f"{address}:{port}"
        await remote.close()
        async with _connection() as (local, _):
            assert local.peer == "this host"

    asyncio.run(check())


def test_numbers_that_are_none_survive() -> None:
    """Infinity, which JSON proper lacks, passes between two of our own processes."""
    assert math.isinf(decode(encode("x", value=math.inf))["value"])
