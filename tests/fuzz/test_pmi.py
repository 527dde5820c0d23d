"""PMI lines: whatever a rank's MPI library says, serving it ends, and raises nothing but `PmiError`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from treering.pmi import KeyValues, PmiError, Session, process_mapping

from .budget import FUZZ

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMIT = 2**12  # bytes a line
_SOON = 20.0  # seconds
_COMMANDS = (
    "init get_maxes get_appnum get_my_kvsname get_universe_size put get barrier_in finalize abort spawn"
)
_LINE = st.builds(
    lambda command, pairs: f"cmd={command} {' '.join(pairs)}".encode("latin-1"),
    st.sampled_from(_COMMANDS.split()),
    st.lists(
        st.from_regex(r"(key|value|exitcode|kvsname|[a-z]?)=?[!-\xff]{0,9}", fullmatch=True), max_size=3
    ),
)
_ODD = st.sampled_from([b"", b"=", b"cmd", b"cmd=cmd=", b"\0", b"x" * (2 * _LIMIT), b"mcmd=spawn\nendcmd"])


async def _alone(pairs: Mapping[str, str]) -> Mapping[str, str]:
    return pairs


@FUZZ
@given(st.lists(_LINE | _ODD | st.binary(max_size=80), max_size=12))
def test_any_lines_are_answered_or_refused(lines: list[bytes]) -> None:
    """The rank has sent all it will ever send; nobody waits for more."""

    async def check() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LIMIT)
        theirs.sendall(b"\n".join(lines))
        theirs.shutdown(socket.SHUT_WR)
        session = Session(KeyValues(_alone, process_mapping(1), 1))
        with contextlib.suppress(PmiError):
            await asyncio.wait_for(session.serve(reader, writer), _SOON)
        writer.close()
        theirs.close()

    asyncio.run(check())
