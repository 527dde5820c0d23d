"""A network of its own for the hosts of one test: a bridge, and on it one network namespace a host.

Each host is then cut off, deaf or mute without touching any process. Needs root on Linux.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

type Direction = Literal["in", "out"]

# Of the range that RFC 2544 keeps for test networks; no two at a time are alike.
_NETS = map(
    "198.18.{}".format, itertools.cycle([*range(first := secrets.randbelow(256), 256), *range(first)])
)


def missing() -> str | None:
    """What network namespaces lack on this machine, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for command in ("ip", "nsenter", "iptables"):
        if shutil.which(command) is None:
            return f"network namespaces need the command {command} (Debian: iproute2, util-linux, iptables)"
    return None


class Network:
    """Use as a context manager; the test's own process is a stranger on the bridge, at `outside`."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._name = f"tf{secrets.token_hex(3)}"
        self._hosts = list(hosts)
        self._net = next(_NETS)
        self._forward = ["FORWARD", "-i", self._name, "-o", self._name, "-j", "ACCEPT"]
        self.outside = f"{self._net}.254"

    def __enter__(self) -> Self:
        _ip("link", "add", self._name, "type", "bridge")
        _ip("address", "add", f"{self.outside}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")
        # Where Docker runs, its policy would drop what passes the bridge.
        run("iptables", "-I", *self._forward)
        for host in self._hosts:
            self._add(host)
        return self

    def __exit__(self, *_: object) -> None:
        run("iptables", "-D", *self._forward)
        for host in self._hosts:
            _ip("link", "del", self._outer(host))
            _ip("netns", "del", self._space(host))
        _ip("link", "del", self._name)

    def address(self, host: str) -> str:
        """IPv4 address of a host."""
        return f"{self._net}.{1 + self._hosts.index(host)}"

    def entering(self, host: str) -> list[str]:
        """What to put before a command so that it runs in the network of a host."""
        return ["nsenter", f"--net=/run/netns/{self._space(host)}"]

    def cut(self, host: str) -> None:
        """Take the host's link down: nothing comes in, nothing goes out, nobody is told."""
        _ip("link", "set", self._outer(host), "down")

    def silence(self, host: str, direction: Direction) -> None:
        """Drop all packets of one direction; the other still works."""
        chain, option = ("OUTPUT", "-o") if direction == "out" else ("INPUT", "-i")
        run(*self.entering(host), "iptables", "-A", chain, option, "eth0", "-j", "DROP")

    def starve(self, host: str, port: int) -> None:
        """Drop all that the host sends, but for what goes to or comes from one port."""
        rule = [*self.entering(host), "iptables", "-A", "OUTPUT", "-o", "eth0"]
        for option in ("--dport", "--sport"):
            run(*rule, "-p", "tcp", option, str(port), "-j", "ACCEPT")
        run(*rule, "-j", "DROP")

    def limit(self, host: str, rate: str) -> None:
        """Let no more through than `rate`, such as ``100mbit``, in each of both directions."""
        shaped = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "400ms"]
        run("tc", "qdisc", "add", "dev", self._outer(host), *shaped)
        run(*self.entering(host), "tc", "qdisc", "add", "dev", "eth0", *shaped)

    def sent(self, host: str) -> int:
        """Bytes that a host has sent, headers included."""
        counters = Path("/sys/class/net", self._outer(host), "statistics")
        return int((counters / "rx_bytes").read_text())

    def _add(self, host: str) -> None:
        space, outer = self._space(host), self._outer(host)
        _ip("netns", "add", space)
        _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", outer, "master", self._name, "up")
        _ip("-n", space, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "link", "set", "eth0", "up")

    def _space(self, host: str) -> str:
        return f"{self._name}-{host}"

    def _outer(self, host: str) -> str:
        return f"{self._name}-{self._hosts.index(host)}"


def _ip(*arguments: str) -> None:
    run("ip", *arguments)


def run(*command: str) -> None:
    """Run a command; RuntimeError with what it said when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
