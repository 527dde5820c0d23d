"""`treering.pmi`: the conversation that MPICH leads at its start and end, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treering.pmi import KeyValues, PmiError, Session, process_mapping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_LIMIT = 2**16


class _Meeting:
    """Where several hosts exchange their pairs, as the coordinator would have it."""

    def __init__(self, hosts: int) -> None:
        self._barrier = asyncio.Barrier(hosts)
        self._pairs: dict[str, str] = {}
        self.brought: list[dict[str, str]] = []

    async def exchange(self, pairs: Mapping[str, str]) -> Mapping[str, str]:
        self.brought.append(dict(pairs))
        self._pairs |= pairs
        await self._barrier.wait()
        return dict(self._pairs)


class _Rank:
    """The MPI library's side of the conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, request: str) -> dict[str, str]:
        """The answer's pairs."""
        self.writer.write(f"{request}\n".encode())
        return await self.hear()

    async def hear(self) -> dict[str, str]:
        answer = (await self._reader.readline()).decode()
        assert answer.endswith("\n"), f"no answer but {answer!r}"
        return dict(pair.split("=", 1) for pair in answer.split())

    async def put(self, key: str, value: str) -> None:
        """Announce a pair."""
        assert (await self.ask(f"cmd=put kvsname=treering key={key} value={value}"))["rc"] == "0"

    async def get(self, key: str) -> str | None:
        """A pair's value, or None."""
        answer = await self.ask(f"cmd=get kvsname=treering key={key}")
        assert answer["cmd"] == "get_result"
        return answer["value"] if answer["rc"] == "0" else None

    async def fence(self) -> None:
        """Enter the barrier and leave it again."""
        assert await self.ask("cmd=barrier_in") == {"cmd": "barrier_out", "rc": "0"}


@contextlib.asynccontextmanager
async def _served(space: KeyValues) -> AsyncIterator[tuple[_Rank, asyncio.Task[None]]]:
    """A rank and the task that serves it."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours, limit=_LIMIT)
    rank = _Rank(*await asyncio.open_connection(sock=theirs, limit=_LIMIT))
    task = asyncio.create_task(Session(space).serve(reader, writer))
    try:
        yield rank, task
    finally:
        rank.writer.close()
        await asyncio.wait([task])
        writer.close()


async def _start_as_mpich(rank: _Rank, number: int, world: int) -> None:
    """What MPICH 5 says from its initialisation to its finalisation, one line after the other."""
    assert (await rank.ask("cmd=init pmi_version=1 pmi_subversion=1"))["rc"] == "0"
    assert int((await rank.ask("cmd=get_maxes"))["vallen_max"]) >= 1024
    assert (await rank.ask("cmd=get_appnum"))["appnum"] == "0"
    assert (await rank.ask("cmd=get_my_kvsname"))["kvsname"].startswith("treering-")
    assert await rank.get("PMI_process_mapping") == process_mapping(world)
    assert await rank.get("PMI_hwloc_xmlfile") is None
    await rank.put(f"-allgather-1-{number}", "segments=2")
    await rank.put(f"-allgather-1-{number}-seg-1/2", f"20A9460B[2]63{number}[5]4F030088D930616D")
    await rank.put(f"-allgather-1-{number}-seg-2/2", "[2]")
    await rank.fence()
    for other in range(world):
        assert await rank.get(f"-allgather-1-{other}") == "segments=2"
        assert await rank.get(f"-allgather-1-{other}-seg-1/2") == f"20A9460B[2]63{other}[5]4F030088D930616D"
        assert await rank.get(f"-allgather-1-{other}-seg-2/2") == "[2]"
    await rank.fence()
    assert await rank.ask("cmd=finalize") == {"cmd": "finalize_ack", "rc": "0"}


@pytest.mark.parametrize(("hosts", "ranks_per_host"), [(1, 1), (2, 1), (2, 2), (3, 4)])
def test_a_world_forms_as_mpich_asks_for_it(hosts: int, ranks_per_host: int) -> None:
    """Every rank on every host learns the addresses of all, with one exchange a host and fence."""
    world = hosts * ranks_per_host

    async def form() -> None:
        meeting = _Meeting(hosts)
        async with contextlib.AsyncExitStack() as stack:
            ranks, served = [], []
            for _ in range(hosts):
                space = KeyValues(meeting.exchange, process_mapping(world), ranks_per_host)
                for _ in range(ranks_per_host):
                    rank, task = await stack.enter_async_context(_served(space))
                    ranks.append(rank)
                    served.append(task)
            await asyncio.gather(*(_start_as_mpich(rank, n, world) for n, rank in enumerate(ranks)))
            for rank in ranks:
                rank.writer.close()
            await asyncio.gather(*served)
        assert len(meeting.brought) == 2 * hosts
        assert sorted(map(len, meeting.brought)) == [0] * hosts + [3 * ranks_per_host] * hosts

    asyncio.run(form())


def test_a_put_is_seen_only_after_the_fence() -> None:
    """Neither the rank itself nor its neighbour sees a pair early; both see it afterwards."""

    async def check() -> None:
        space = KeyValues(_Meeting(1).exchange, process_mapping(2), 2)
        async with _served(space) as (one, _), _served(space) as (other, _):
            await one.put("card", "10.0.0.1")
            assert await one.get("card") is None
            assert await other.get("card") is None
            await asyncio.gather(one.fence(), other.fence())
            assert await one.get("card") == "10.0.0.1"
            assert await other.get("card") == "10.0.0.1"

    asyncio.run(check())


def test_pairs_stay_and_can_be_replaced() -> None:
    """A later fence adds to what is known; a key put anew has its new value."""

    async def check() -> None:
        async with _served(KeyValues(_Meeting(1).exchange, process_mapping(1), 1)) as (rank, _):
            for generation in ("first", "second"):
                await rank.put("same", generation)
                await rank.put(generation, "x=y")
                await rank.fence()
            assert await rank.get("same") == "second"
            assert await rank.get("first") == "x=y"
            assert await rank.get("PMI_process_mapping") == "(vector,(0,1,1))"

    asyncio.run(check())


def test_nobody_leaves_the_fence_before_the_last_has_come() -> None:
    """A rank waits for its neighbour, and a whole host for the other hosts."""

    async def check() -> None:
        meeting = _Meeting(2)
        spaces = [KeyValues(meeting.exchange, process_mapping(3), ranks) for ranks in (2, 1)]
        async with _served(spaces[0]) as (a, _), _served(spaces[0]) as (b, _), _served(spaces[1]) as (c, _):
            waiting = [asyncio.create_task(a.fence())]
            assert await c.get("nothing") is None  # c is served while a waits
            waiting.append(asyncio.create_task(c.fence()))
            assert await b.get("nothing") is None
            assert not any(task.done() for task in waiting)
            await asyncio.gather(b.fence(), *waiting)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"cmd=abort exitcode=3 message=abort\n", "exit code 3"),
        (b"cmd=abort\n", "abort"),
        (b"cmd=spawn nprocs=2\n", "unknown request: b'cmd=spawn nprocs=2"),
        (b"cmd=\n", "unknown request"),
        (b"\n", "unknown request"),
        (b"cmd=put value=1\n", "unknown request"),
        (b"cmd=put key=1\n", "unknown request"),
        (b"cmd=get kvsname=treering\n", "unknown request"),
        (b"\xff\x00\xfe\n", "unknown request"),
        (b'{"type": "join"}\n', "unknown request"),
        (b"cmd=init", None),
        (b"cmd=put key=a value=" + b"x" * 2 * _LIMIT + b"\n", "without an end"),
    ],
)
def test_an_abort_and_garbage_end_the_conversation(said: bytes, told: str | None) -> None:
    """Both raise PmiError that says what came; a rank that just goes away does not."""

    async def check() -> None:
        async with _served(KeyValues(_Meeting(1).exchange, process_mapping(1), 1)) as (rank, served):
            rank.writer.write(said)
            rank.writer.write_eof()
            if told is None:
                await served
            else:
                with pytest.raises(PmiError, match=told):
                    await served

    asyncio.run(check())


@pytest.mark.parametrize("request_", ["cmd=init", "cmd=barrier_in", "cmd=finalize", ""])
def test_a_rank_that_goes_away_ends_its_conversation(request_: str) -> None:
    """Its exit code tells the rest: here it is no error, whatever it said last."""

    async def check() -> None:
        async with _served(KeyValues(_Meeting(1).exchange, process_mapping(1), 1)) as (rank, served):
            if request_:
                await rank.ask(request_)
            rank.writer.close()
            await served

    asyncio.run(check())


@settings(max_examples=60)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.from_regex(rb"cmd=(init|get|put|barrier_in|finalize|abort|get_maxes)( key=\w?)?( value=\w*)?"),
        max_size=8,
    )
)
def test_any_bytes_are_answered_or_refused(lines: list[bytes]) -> None:
    """Whatever a rank sends, serving it ends, and raises nothing but PmiError."""

    async def check() -> None:
        async with _served(KeyValues(_Meeting(1).exchange, process_mapping(1), 1)) as (rank, served):
            rank.writer.write(b"\n".join(lines))
            rank.writer.write_eof()
            with contextlib.suppress(PmiError):
                await served

    asyncio.run(check())


@pytest.mark.parametrize("ranks", [1, 2, 512])
def test_the_mapping_puts_every_rank_alone(ranks: int) -> None:
    """MPICH's vector has one block: from node 0, as many nodes as ranks, one rank on each."""
    assert process_mapping(ranks) == f"(vector,(0,{ranks},1))"
