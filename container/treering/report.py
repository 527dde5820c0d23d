"""What a rank and its supervisor know of each other: a few variables, and a socket for their words.

The rank says where it is, what failed, that it stopped early, or that it is done; the supervisor says one
word, ``stop``, which the rank reads when it has time to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from treering.frames import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.errors import Failure
    from treering.progress import Position

STATUS_VARIABLE = "TREERING_STATUS_FD"
ADDRESS_VARIABLE = "TREERING_ADDRESS"  # this host's IPv4 address in the job's network
THREADS_VARIABLE = "TREERING_THREADS"  # cores of this rank
STACK_SIGNAL = signal.SIGUSR1  # a rank prints where it is, and goes on


class Reporter:
    """The rank's end of the status socket; a rank started by hand has none and reports to nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        descriptor = environ.get(STATUS_VARIABLE)
        self._socket = socket.socket(fileno=int(descriptor)) if descriptor else None
        self._stop = False
        if descriptor:
            os.set_inheritable(int(descriptor), False)  # no process started by a rank speaks for it

    def at(self, position: Position) -> None:
        """Tell where this rank is; dropped rather than waited for when the supervisor does not listen."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(encode("at", position=position.to_json()), socket.MSG_DONTWAIT)

    def stop_requested(self) -> bool:
        """Whether the supervisor has asked for an early end; never waits."""
        if self._socket is not None and not self._stop:
            with contextlib.suppress(OSError):  # nothing there, or nobody
                self._stop = bool(self._socket.recv(4096, socket.MSG_DONTWAIT))
        return self._stop

    def failed(self, failure: Failure) -> None:
        """Tell why this rank is about to end."""
        self._send(encode("failed", failure=failure.to_json()))

    def stopped(self, sentence: str, *, saved_model: bool) -> None:
        """Tell that the work ended early, as asked, and what is kept of it."""
        self._send(encode("stopped", sentence=sentence, saved_model=saved_model))

    def done(self) -> None:
        """Tell that this rank has come to its end, and not merely ended."""
        self._send(encode("done"))

    def _send(self, line: bytes) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # a supervisor that is gone has ended the job already
                self._socket.sendall(line)
