"""Connections from somebody who is none of the job: at the rendezvous, at MPI, at XGBoost's tracker and workers."""

from __future__ import annotations

import contextlib
import random
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import Host, Port
    from .lab import Lab
    from .strikes import Strike


def stranger(kind: Port, size: int, *, early: bool) -> Strike:
    """Connect to a port of the culprit, send that many random bytes or none, and stay connected.

    With `early` this is as soon as the port is open, else in the middle of training.
    """

    def strike(lab: Lab, culprit: Host) -> None:
        if not early:
            lab.until_said(lab.first, "[2]\t")
        lab.until(lambda: _intrude(lab, culprit, kind, size), f"{culprit.name} opens {kind}", pause=0)
        lab.strike()

    return strike


def stranger_before_the_last_host(size: int) -> Strike:
    """The same at the rendezvous, which is open only until the last host has come."""

    def strike(lab: Lab, culprit: Host) -> None:
        stranger("rendezvous", size, early=True)(lab, lab.first)
        lab.start(culprit.name)

    return strike


def _intrude(lab: Lab, host: Host, kind: Port, size: int) -> bool:
    """Do so if the port is open; some are opened twice, for a moment first."""
    port = host.port(kind)
    if port is None:
        return False
    try:
        guest = socket.create_connection((lab.address(host.name), port), timeout=5)
    except ConnectionRefusedError:
        return False
    lab.stack.enter_context(guest)
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed={seed}")
    with contextlib.suppress(ConnectionError):  # shown the door
        guest.sendall(random.Random(seed).randbytes(size))
    return True
