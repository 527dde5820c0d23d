"""`treering.cluster`: one order on all hosts, and an interface that really exists."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.cluster import Cluster, Interface
from treering.errors import PlatformError

if TYPE_CHECKING:
    from random import Random

_NOWHERE = "no such host"  # no resolver even asks for a name with a blank
_LOOPBACK = Interface("lo", "127.0.0.1")


def _interface(cluster: Cluster) -> Interface:
    return asyncio.run(cluster.interface())


def _in_empty_network(setup: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run `program` in a network of its own that `setup` has furnished; skip where that is not allowed."""
    unshare = shutil.which("unshare")
    enter = [unshare or "", "--map-root-user", "--net"]
    if unshare is None or subprocess.run([*enter, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow a network namespace")
    script = f"set -e; {setup}\nexec {sys.executable} -c '{program}'"
    return subprocess.run([*enter, "sh", "-c", script], check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("given_order", "expected"),
    [
        (["algo-1", "algo-10", "algo-2"], ("algo-1", "algo-2", "algo-10")),
        (["algo-1", "algo-2", "algo-10"], ("algo-1", "algo-2", "algo-10")),
        (
            ["algo-2-0x9fk", "algo-10-aaaaa", "algo-1-hiwgw"],
            ("algo-1-hiwgw", "algo-2-0x9fk", "algo-10-aaaaa"),
        ),
        (["b", "a-2", "a"], ("a", "a-2", "b")),
        (["algo-2", "algo-1", "algo-2"], ("algo-1", "algo-2")),
        (["host-01", "host-1", "host-0"], ("host-0", "host-01", "host-1")),
        (["7", "x7", "10"], ("7", "10", "x7")),
        (["algo-4"], ("algo-4",)),
    ],
)
def test_hosts_come_in_natural_order(given_order: list[str], expected: tuple[str, ...]) -> None:
    """SageMaker's lexicographic list and local mode's numeric one become the same, suffixes or not."""
    cluster = Cluster.of(given_order, given_order[-1], None, {})
    assert cluster.hosts == expected
    assert cluster.first == expected[0]
    assert cluster.hosts[cluster.index] == cluster.me == given_order[-1]


@given(
    st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,12}[a-z0-9])?", fullmatch=True), min_size=1), st.randoms()
)
def test_the_order_does_not_depend_on_the_list(hosts: list[str], random: Random) -> None:
    """Any permutation of any names gives every host the same order."""
    shuffled = random.sample(hosts, len(hosts))
    assert Cluster.of(hosts, hosts[0], None, {}).hosts == Cluster.of(shuffled, hosts[-1], None, {}).hosts


def test_a_host_outside_the_list_is_refused() -> None:
    """The sentence shows both the stranger and the list."""
    with pytest.raises(PlatformError, match=r"current_host 'algo-3' .* \(algo-1, algo-2\)"):
        Cluster.of(["algo-1", "algo-2"], "algo-3", "eth0", {})


def test_the_environment_gives_addresses() -> None:
    """TREERING_ADDRESSES answers for hosts that no DNS knows, and only for those it lists."""
    environ = {"TREERING_ADDRESSES": f"algo-1=10.1.2.3,{_NOWHERE}=10.1.2.4"}
    cluster = Cluster.of(["algo-1", _NOWHERE], "algo-1", None, environ)
    assert asyncio.run(cluster.resolve("algo-1")) == "10.1.2.3"
    assert asyncio.run(cluster.resolve(_NOWHERE)) == "10.1.2.4"
    assert asyncio.run(cluster.resolve("localhost")).startswith("127.")


def test_an_unknown_host_does_not_resolve_yet() -> None:
    """The error is an OSError, which callers retry."""
    cluster = Cluster.of([_NOWHERE], _NOWHERE, None, {})
    with pytest.raises(socket.gaierror):
        asyncio.run(cluster.resolve(_NOWHERE))


@pytest.mark.parametrize("hint", [None, "ethwe", "eth0"])
def test_a_single_host_uses_the_loopback(hint: str | None) -> None:
    """Nothing is resolved and nobody can be reached from outside."""
    assert _interface(Cluster.of([_NOWHERE], _NOWHERE, hint, {})) == _LOOPBACK


def test_an_interface_that_exists_is_used() -> None:
    """Each of this machine's IPv4 interfaces is taken at its name, without any DNS."""
    hosts = [_NOWHERE, "no other host"]
    for name, entries in psutil.net_if_addrs().items():
        addresses = [entry.address for entry in entries if entry.family.name == "AF_INET"]
        if addresses:
            cluster = Cluster.of(hosts, hosts[0], name, {})
            assert _interface(cluster) == Interface(name, addresses[0])


@pytest.mark.parametrize("hint", [None, "", "ethwe"])
@pytest.mark.parametrize("me", ["localhost", "no other host"])
def test_without_a_usable_name_the_route_to_the_first_host_counts(hint: str | None, me: str) -> None:
    """Local mode's ``ethwe`` exists nowhere: what leads to the first host is used instead."""
    cluster = Cluster.of(["localhost", "no other host"], me, hint, {})
    assert cluster.first == "localhost"
    assert _interface(cluster) == _LOOPBACK


def test_without_the_first_hosts_name_ones_own_counts() -> None:
    """While DNS does not know the first host, the own name still leads to the job's network."""
    assert _interface(Cluster.of(["a first host", "localhost", "z"], "localhost", "ethwe", {})) == _LOOPBACK


def test_given_addresses_outrank_the_named_interface() -> None:
    """Hosts that are reached over the loopback listen there, whatever ``network_interface_name`` says."""
    others = [name for name in psutil.net_if_addrs() if name != "lo"]
    environ = {"TREERING_ADDRESSES": "algo-1=127.0.0.1,algo-2=127.0.0.1"}
    for hint in [*others, "ethwe"]:
        assert _interface(Cluster.of(["algo-1", "algo-2"], "algo-2", hint, environ)) == _LOOPBACK


def test_a_machine_without_a_network_says_so() -> None:
    """Where no interface has an IPv4 address an OSError comes, not some made-up address."""
    done = _in_empty_network(
        "",
        "import asyncio; from treering.cluster import Cluster\n"
        f'asyncio.run(Cluster.of(["{_NOWHERE}", "b"], "b", "eth0", {{}}).interface())',
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1]


def test_the_primary_address_of_an_interface_counts() -> None:
    """Peers know the address an interface was given first; a virtual one beside it is no place to listen."""
    done = _in_empty_network(
        "ip link set lo up; ip address add 10.9.8.7/32 dev lo",
        "import asyncio; from treering.cluster import Cluster\n"
        f'print(asyncio.run(Cluster.of(["{_NOWHERE}", "b"], "b", "lo", {{}}).interface()).address)',
    )
    assert done.stdout == "127.0.0.1\n", done.stderr
