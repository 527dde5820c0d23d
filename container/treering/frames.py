"""Messages between processes that know each other: one JSON object a line, of bounded length.

The same frames run between supervisors (TCP) and between a supervisor and its ranks (a socket pair).
Nothing read here is ever executed; anything that is no JSON object ends the connection.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

LIMIT = 4 * 2**20  # bytes a line: 512 hosts' MPI addresses take about one MiB
HOST_LIMIT = 2**19  # bytes a line from one host: its own addresses, or a failure with its traceback

type Message = dict[str, Any]


class FrameError(Exception):
    """Raised when the other side sends something that is no message."""


def encode(kind: str, **fields: object) -> bytes:
    """One line: a JSON object with ``type`` and the given fields."""
    return json.dumps({"type": kind, **fields}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line; raises FrameError unless it is a JSON object with a textual ``type``."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {line[:60]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise FrameError(f"no message: {line[:60]!r}")
    return message


class Connection:
    """One end of a stream of messages inside an asyncio loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def peer(self) -> str:
        """The other side's address, for log lines."""
        name = self._writer.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "this host"

    def send(self, kind: str, **fields: object) -> None:
        """Queue one message; what cannot be sent any more is dropped, as `receive` tells the end."""
        if not self._writer.is_closing():
            self._writer.write(encode(kind, **fields))

    async def receive(self) -> Message | None:
        """The next message, or None once the other side is gone. Raises FrameError on garbage."""
        try:
            line = await self._reader.readline()
        except ValueError as error:  # longer than LIMIT
            raise FrameError("a line without an end") from error
        except OSError:  # reset, or timed out, or no route any more
            return None
        return decode(line) if line.endswith(b"\n") else None

    def abort(self) -> None:
        """Cut the connection at once; whoever waits in `receive` gets None."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is queued, then close; a silent other side is not waited for."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)
        except (OSError, TimeoutError):
            self._writer.transport.abort()
