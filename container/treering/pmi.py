"""PMI-1, the protocol by which an MPI library asks its launcher for a world.

MPICH started with ``PMI_FD``, ``PMI_RANK`` and ``PMI_SIZE`` in its environment speaks it over that
socket: lines of ``key=value`` pairs. It puts its own network address into a key-value space, enters a
barrier, and gets the addresses of all others. What a rank puts has to be visible to others only after
the next barrier, so one exchange between hosts per barrier (a *fence*) carries everything.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_REPLIES = {
    "init": "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0",
    "get_maxes": "cmd=maxes kvsname_max=256 keylen_max=256 vallen_max=4096 rc=0",
    "get_appnum": "cmd=appnum appnum=0 rc=0",
    "get_universe_size": "cmd=universe_size size=-1 rc=0",
    "finalize": "cmd=finalize_ack rc=0",
}


class PmiError(Exception):
    """Raised when a rank's MPI library speaks something other than PMI-1, or asks to abort."""


def process_mapping(ranks: int) -> str:
    """MPICH's notation for "every rank is alone on its node".

    Ranks of one host talk over its network stack as well: MPICH's shared memory would need a large
    ``/dev/shm``, which containers do not have.
    """
    return f"(vector,(0,{ranks},1))"


class KeyValues:
    """The key-value space as one host sees it, shared by the ranks of that host.

    Parameters
    ----------
    exchange
        Gives this host's new pairs to all hosts and returns everybody's, once all have called.
    mapping
        See `process_mapping`.
    ranks
        How many ranks of this host take part in each fence.
    """

    def __init__(
        self,
        exchange: Callable[[Mapping[str, str]], Awaitable[Mapping[str, str]]],
        mapping: str,
        ranks: int,
    ) -> None:
        # MPICH names its files in /dev/shm after it: jobs side by side must not meet there, nor users be in each other's way.
        self.name = f"treering-{secrets.token_hex(16)}"
        self._exchange = exchange
        self._ranks = ranks
        self._known: dict[str, str] = {"PMI_process_mapping": mapping}
        self._new: dict[str, str] = {}
        self._arrived: list[asyncio.Future[None]] = []

    def put(self, key: str, value: str) -> None:
        """Announce a pair at the next fence."""
        self._new[key] = value

    def get(self, key: str) -> str | None:
        """A pair that some rank announced before the last fence."""
        return self._known.get(key)

    async def fence(self) -> None:
        """Return once all ranks of all hosts have entered."""
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived.append(passed)
        if len(self._arrived) == self._ranks:
            new, self._new = self._new, {}
            arrived, self._arrived = self._arrived, []
            self._known.update(await self._exchange(new))
            for each in arrived:
                if not each.done():
                    each.set_result(None)
        await passed


class Session:
    """One rank's conversation with its supervisor."""

    def __init__(self, space: KeyValues) -> None:
        self._space = space
        # Between MPI's start and its end, which MPICH tells only when the process exits in an orderly way.
        self.is_inside = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the rank goes away; raises PmiError on an abort or on garbage."""
        while line := await _next_line(reader):
            request = dict(pair.split("=", 1) for pair in line.decode("latin-1").split() if "=" in pair)
            writer.write((await self._answer(request, line)).encode("latin-1") + b"\n")

    async def _answer(self, request: Mapping[str, str], line: bytes) -> str:
        command = request.get("cmd", "")
        match command:
            case "put" if {"key", "value"} <= request.keys():
                self._space.put(request["key"], request["value"])
                return "cmd=put_result rc=0 msg=success"
            case "get" if "key" in request:
                value = self._space.get(request["key"])
                if value is None:
                    return "cmd=get_result rc=-1 msg=key_not_found value=unknown"
                return f"cmd=get_result rc=0 msg=success value={value}"
            case "get_my_kvsname":
                return f"cmd=my_kvsname kvsname={self._space.name} rc=0"
            case "barrier_in":
                await self._space.fence()
                return "cmd=barrier_out rc=0"
            case "abort":
                raise PmiError(f"it aborted with exit code {request.get('exitcode', 'unknown')}")
            case _ if command in _REPLIES:
                self.is_inside = command != "finalize"
                return _REPLIES[command]
        raise PmiError(f"an unknown request: {line[:80]!r}")


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as error:  # longer than the reader's limit
        raise PmiError("a line without an end") from error
