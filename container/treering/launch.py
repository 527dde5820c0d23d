"""What one host is going to run: a value that can be printed and compared before anything starts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from treering.report import ADDRESS_VARIABLE, THREADS_VARIABLE
from treering.resources import cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.cluster import Cluster, Interface
    from treering.paths import Paths
    from treering.settings import Settings

_WAITING: Final = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}  # how OpenMP's threads wait
_SPINS: Final = "1000"  # some tens of microseconds


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """One host's part of the job.

    Parameters
    ----------
    job
        The training job's name: part of the handshake.
    cluster, settings, paths
        Who takes part, the ring's knobs, and this host's ``/opt/ml``.
    command
        The rank program; started once a rank with the same arguments.
    reports_done
        Whether it says when it has come to its end: exit code 0 alone, of a library that called
        ``exit`` say, is then a failure.
    """

    job: str
    cluster: Cluster
    settings: Settings
    paths: Paths
    command: tuple[str, ...]
    reports_done: bool = False

    @property
    def world_size(self) -> int:
        """Ranks on all hosts."""
        return len(self.cluster.hosts) * self.settings.ranks_per_host

    @property
    def threads_per_rank(self) -> int:
        """Cores of this host, shared by its ranks."""
        threads = self.settings.threads_per_host or cores()
        return max(1, threads // max(1, self.settings.ranks_per_host))


def rank_environment(
    launch: Launch, rank: int, interface: Interface, environ: Mapping[str, str]
) -> dict[str, str]:
    """Environment of one rank, but for the file descriptors it is handed.

    libfabric's provider is pinned on every host alike: left to itself it may choose differently where
    hardware differs, and then nobody can talk to anybody. OpenMP's threads wait for each other within a round
    for microseconds; left to themselves they keep their cores busy for milliseconds more, which gradients and
    metrics have a use for.
    """
    kept = {key: value for key, value in environ.items() if not key.startswith(("PMI_", "PMIX_", "HYDRA_"))}
    threads = str(launch.threads_per_rank)
    if not _WAITING & kept.keys():
        kept["GOMP_SPINCOUNT"] = _SPINS
    return kept | {
        "PMI_RANK": str(rank),
        "PMI_SIZE": str(launch.world_size),
        "MPIR_CVAR_CH4_NETMOD": "ofi",  # the wheel has UCX as well, and would take it
        "FI_PROVIDER": launch.settings.provider,
        "FI_TCP_IFACE": interface.name,
        "OMP_NUM_THREADS": threads,
        "NUMEXPR_MAX_THREADS": threads,
        "NUMEXPR_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        ADDRESS_VARIABLE: interface.address,
        THREADS_VARIABLE: threads,
    }
