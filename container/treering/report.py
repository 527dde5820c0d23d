"""What a rank and its supervisor know of each other: a few variables, and a socket for the rank's word."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from treering.frames import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.errors import Failure

STATUS_VARIABLE = "TREERING_STATUS_FD"
ADDRESS_VARIABLE = "TREERING_ADDRESS"  # this host's IPv4 address in the job's network
THREADS_VARIABLE = "TREERING_THREADS"  # cores of this rank


class Reporter:
    """The rank's end of the status socket; a rank started by hand has none and reports to nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        descriptor = environ.get(STATUS_VARIABLE)
        self._socket = socket.socket(fileno=int(descriptor)) if descriptor else None
        if descriptor:
            os.set_inheritable(int(descriptor), False)  # no process started by a rank speaks for it

    def failed(self, failure: Failure) -> None:
        """Tell why this rank is about to end."""
        self._send(encode("failed", failure=failure.to_json()))

    def done(self) -> None:
        """Tell that this rank has come to its end, and not merely ended."""
        self._send(encode("done"))

    def _send(self, line: bytes) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # a supervisor that is gone has ended the job already
                self._socket.sendall(line)
