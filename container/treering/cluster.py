"""The hosts of this job in one agreed order, who this one is, and how the first one is reached."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import socket
import threading
from typing import TYPE_CHECKING

import psutil

from treering.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ADDRESSES_VARIABLE = "TREERING_ADDRESSES"  # "algo-1=127.0.0.1,…": for hosts that no DNS knows
_LOOPBACK = "127.0.0.1"
_NOWHERE = "192.0.2.1"  # RFC 5737: never a real host; asking for a route to it sends nothing


def _natural(host: str) -> tuple[list[int | str], str]:
    """Sort key that puts algo-2 before algo-10; equal keys fall back on the name itself."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", host)], host


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this machine and its IPv4 address."""

    name: str
    address: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """All hosts as every one of them sees them.

    SageMaker lists hosts in lexicographic order, its local mode in numeric order: the order here is
    computed, never taken over, and the first host is a position, never a name.

    Parameters
    ----------
    hosts
        SageMaker names, sorted naturally.
    me
        This host's name, one of `hosts`; it is not the machine's hostname.
    interface_hint
        What ``network_interface_name`` says; may name an interface that does not exist.
    addresses
        Known IPv4 addresses of hosts that need no DNS.
    """

    hosts: tuple[str, ...]
    me: str
    interface_hint: str | None = None
    addresses: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls, hosts: Sequence[str], me: str, interface_hint: str | None, environ: Mapping[str, str]
    ) -> Cluster:
        """Put the hosts of ``resourceconfig.json`` in order; raises PlatformError when `me` is not one."""
        if me not in hosts:
            raise PlatformError(
                f"resourceconfig.json: current_host {me!r} is not among hosts ({', '.join(hosts)})"
            )
        pairs = (pair.partition("=") for pair in environ.get(ADDRESSES_VARIABLE, "").split(",") if pair)
        addresses = {host: address for host, _, address in pairs}
        return cls(tuple(sorted(set(hosts), key=_natural)), me, interface_hint, addresses)

    @property
    def first(self) -> str:
        """The host that coordinates and carries rank 0."""
        return self.hosts[0]

    @property
    def index(self) -> int:
        """Position of this host in `hosts`."""
        return self.hosts.index(self.me)

    async def resolve(self, host: str, turn: int = 0) -> str:
        """IPv4 address of a host; raises OSError while DNS does not know it.

        Where two jobs share a network and their hosts' names, a name has several: each `turn` gives another.
        """
        if host in self.addresses:
            return self.addresses[host]
        found = await _in_background(socket.getaddrinfo, host, None, socket.AF_INET, socket.SOCK_STREAM)
        return str(found[turn % len(found)][4][0])

    async def interface(self) -> Interface:
        """The interface that the job's traffic uses.

        The one SageMaker names, if it exists; else the one whose address the host's own name or the
        route to the first host leads to; else that of the default route. A single host needs none.
        Raises OSError when the machine has no IPv4 interface at all.
        """
        if len(self.hosts) == 1:
            return _interface_of(_LOOPBACK)
        named = _addresses().get(self.interface_hint or "")
        if named and not self.addresses:
            return Interface(self.interface_hint or "", named)
        for target in (self.first, self.me):
            try:
                return _interface_of(_source_address(await self.resolve(target)))
            except OSError:
                continue
        return _interface_of(_source_address(_NOWHERE))


async def _in_background[T](call: Callable[..., T], *arguments: object) -> T:
    """Run a call that may block for long in a thread that nobody has to wait for at the end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[..., None], value: object) -> None:
        if not answer.done():
            settle(value)

    def ask() -> None:
        outcome: tuple[Callable[..., None], object]
        try:
            outcome = answer.set_result, call(*arguments)
        except OSError as error:
            outcome = answer.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=ask, daemon=True).start()
    return await answer


def _addresses() -> dict[str, str]:
    """First (primary) IPv4 address of every interface that has one."""
    return {
        name: entry.address
        for name, entries in psutil.net_if_addrs().items()
        for entry in reversed(entries)
        if entry.family == socket.AF_INET
    }


def _interface_of(address: str) -> Interface:
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.family == socket.AF_INET and entry.address == address for entry in entries):
            return Interface(name, address)
    raise OSError(f"no interface of this machine has the address {address}")


def _source_address(destination: str) -> str:
    """Own address that the kernel would send from; a connected UDP socket asks without sending."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((destination, 9))
        return str(probe.getsockname()[0])
