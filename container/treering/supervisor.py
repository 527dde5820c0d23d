"""One per container, PID 1: joins the ring, runs this host's ranks, and makes sure all hosts end alike.

Imports neither MPI nor XGBoost, so that it is up and can report before anything heavy is loaded, and
stays responsive while ranks compute.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from treering import __version__, artifacts, job, logs, pmi
from treering.cluster import Cluster
from treering.errors import Failure, Kind, PlatformError, RingError, TreeringError
from treering.frames import LIMIT, Connection, FrameError
from treering.paths import Paths
from treering.processes import PARENT_VARIABLE, Children, describe_exit, die_with_parent
from treering.rendezvous import PROTOCOL, Coordinator
from treering.report import ADDRESS_VARIABLE, STATUS_VARIABLE, SUPERVISOR_VARIABLE, THREADS_VARIABLE
from treering.resources import cores
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from treering.cluster import Interface


_LONGEST_PAUSE = 1.0  # seconds between attempts to reach the first host
_VERDICT_WAIT = 5.0  # seconds, beyond what silence takes to be noticed, in which the verdict must come
_ATTEMPT = 5.0  # seconds for one attempt
_KILLED_WAIT = 5.0  # seconds until killed ranks are gone

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """What one host runs: a value that can be printed and compared before anything starts.

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
    hardware differs, and then nobody can talk to anybody.
    """
    kept = {key: value for key, value in environ.items() if not key.startswith(("PMI_", "PMIX_", "HYDRA_"))}
    threads = str(launch.threads_per_rank)
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
        SUPERVISOR_VARIABLE: str(os.getpid()),
    }


def run(launch: Launch) -> int:
    """Run this host's part of the job to its end on all hosts; returns the container's exit code."""
    return asyncio.run(_Supervisor(launch).run())


def train() -> int:
    """What the image runs: read who takes part, then `run` the built-in rank program."""
    paths = Paths.from_environment()
    if PARENT_VARIABLE in os.environ:
        die_with_parent(int(os.environ.pop(PARENT_VARIABLE)))
    try:
        resources = job.read_resources(paths)
        cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, os.environ)
    except TreeringError as error:
        logs.to_stdout("treering")
        failure = Failure.of(error, "this host")
        log.error("%s", failure.headline)  # noqa: TRY400  # a sentence, no traceback
        artifacts.write_failure(paths, failure)
        return 1
    logs.to_stdout(cluster.me)
    settings = Settings.read(paths, os.environ)
    name = job.job_name(paths, resources, os.environ)
    command = (sys.executable, "-m", "treering.worker")
    return run(Launch(name, cluster, settings, paths, command, reports_done=True))


class _Supervisor:
    """The state of one run. ``_outcome`` is settled once: None when all went well, else the failure."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._cluster = launch.cluster
        self._started = time.monotonic()
        self._coordinator: Coordinator | None = None
        self._link: Connection | None = None
        self._heard = 0.0  # monotonic seconds of the first host's last message
        self._fence: asyncio.Future[dict[str, str]] | None = None
        self._failure: Failure | None = None
        self._ranks_through = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Do everything; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Failure | None] = loop.create_future()
        self._children = Children()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        self._spawn(self._work())
        failure = await self._outcome
        return await self._end(failure)

    # --- joining ---

    async def _work(self) -> None:
        settings = self._launch.settings
        interface = await self._cluster.interface()
        log.info(
            "treering %s, host %d of %d, on %s (%s), %d rank(s) a host, %d thread(s) a rank",
            __version__,
            self._cluster.index + 1,
            len(self._cluster.hosts),
            interface.name,
            interface.address,
            settings.ranks_per_host,
            self._launch.threads_per_rank,
        )
        self._link = await self._join(interface)
        self._heard = time.monotonic()
        self._spawn(self._listen(self._link))
        self._spawn(self._beat(self._link))
        if self._coordinator is not None:
            artifacts.check_writable(self._launch.paths)
        await self._run_ranks(interface)

    async def _join(self, interface: Interface) -> Connection:
        if self._cluster.me == self._cluster.first:
            link = await self._host_rendezvous(interface.address)
        else:
            link = await self._dial()
        link.send("join", protocol=PROTOCOL, job=self._launch.job, host=self._cluster.me)
        return link

    async def _host_rendezvous(self, address: str) -> Connection:
        port = self._launch.settings.port
        self._coordinator = Coordinator(self._launch.job, self._cluster, self._launch.settings)
        if len(self._cluster.hosts) > 1:
            try:
                await self._coordinator.listen(address)
            except OSError as error:
                raise PlatformError(
                    f"cannot listen on {address}:{port} ({error.strerror}); set TREERING_PORT to a free port"
                    " on all hosts"
                ) from error
        self._coordinator.watch()
        return await self._coordinator.local_link()

    async def _dial(self) -> Connection:
        """Connect to the first host, which may not run yet, or have no name in DNS yet."""
        first, port = self._cluster.first, self._launch.settings.port
        allowed = self._launch.settings.rendezvous_timeout
        deadline = self._started + allowed
        pause, trouble = 0.02, "no attempt was made"
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout(_ATTEMPT):
                    address = await self._cluster.resolve(first)
                    return Connection(*await asyncio.open_connection(address, port, limit=LIMIT))
            except socket.gaierror as error:
                trouble = f"its name does not resolve: {error.strerror}"
            except TimeoutError:
                trouble = f"no answer on port {port}"
            except OSError as error:
                trouble = str(error)
            await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise RingError(
            f"{self._cluster.me} could not reach this host within {allowed:g} s ({trouble})", first
        )

    # --- talking to the first host ---

    async def _listen(self, link: Connection) -> None:
        """Act on what the coordinator says, until it says the last word or is gone."""
        ending = "its connection closed"
        try:
            while (message := await link.receive()) is not None:
                self._heard = time.monotonic()
                match message:
                    case {"type": "fence", "pairs": dict(pairs)} if self._fence is not None:
                        self._fence.set_result(pairs)
                    case {"type": "verdict", "failure": dict(failure)}:
                        return self._conclude(Failure.from_json(failure))
                    case {"type": "finish"}:
                        return self._conclude(None)
                    case {"type": "refused", "reason": str(reason)}:
                        return self._conclude(
                            Failure(
                                Kind.RING,
                                self._cluster.me,
                                f"{self._cluster.first} refused this host: {reason}",
                            )
                        )
        except FrameError as error:
            ending = str(error)
        return self._lose_contact(ending)

    async def _beat(self, link: Connection) -> None:
        settings = self._launch.settings
        while True:
            link.send("beat")
            asked = time.monotonic()
            await asyncio.sleep(settings.heartbeat_interval)
            # If this process was itself stopped, its own deafness is no silence of the other side.
            self._heard += max(0.0, time.monotonic() - asked - settings.heartbeat_interval)
            silent = time.monotonic() - self._heard
            if silent > settings.lost_timeout:
                self._lose_contact(f"silent for {silent:.0f} s")

    def _lose_contact(self, how: str) -> None:
        first = self._cluster.first
        sentence = f"lost contact with {first} ({how}): one of the two was stopped, killed or cut off"
        self._conclude(self._failure or Failure(Kind.RING, self._cluster.me, sentence))

    async def _exchange(self, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """One PMI fence over all hosts."""
        self._fence = asyncio.get_running_loop().create_future()
        if self._link is not None:
            self._link.send("fence", pairs=dict(pairs))
        return await self._fence

    # --- this host's ranks ---

    async def _run_ranks(self, interface: Interface) -> None:
        count = self._launch.settings.ranks_per_host
        mapping = pmi.process_mapping(self._launch.world_size)
        space = pmi.KeyValues(self._exchange, mapping, count)
        first_rank = self._cluster.index * count
        ranks = [self._run_rank(first_rank + i, interface, space) for i in range(count)]
        if all(await asyncio.gather(*ranks)):
            self._ranks_through = True
            if self._link is not None:
                self._link.send("done")

    async def _run_rank(self, rank: int, interface: Interface, space: pmi.KeyValues) -> bool:
        """Start one rank and see it through; True when it ended well."""
        status, its_status = socket.socketpair()
        wires, its_wires = socket.socketpair()
        environ = rank_environment(self._launch, rank, interface, os.environ)
        environ |= {"PMI_FD": str(its_wires.fileno()), STATUS_VARIABLE: str(its_status.fileno())}
        with its_status, its_wires:
            pid, ended = self._children.start(
                self._launch.command, environ, (its_wires.fileno(), its_status.fileno())
            )
        reports = asyncio.get_running_loop().create_task(self._hear_rank(status))
        serving = asyncio.get_running_loop().create_task(self._serve_pmi(wires, space))
        code = await ended
        reported, done = await reports
        serving.cancel()  # a rank that died inside a fence would have it wait for ever
        if reported is None and (code != 0 or (self._launch.reports_done and not done)):
            hint = "; the kernel does so when memory runs out" if code == -signal.SIGKILL else ""
            reported = Failure(
                Kind.DIED,
                self._cluster.me,
                f"rank {rank} (pid {pid}) {describe_exit(code)} without a word{hint}; see the log of {self._cluster.me}",
            )
        if reported is not None:
            self._fail(reported)
        return reported is None

    async def _hear_rank(self, status: socket.socket) -> tuple[Failure | None, bool]:
        """What a rank reports before it ends: a failure, passed on at once, or that it is done."""
        connection = Connection(*await asyncio.open_connection(sock=status, limit=LIMIT))
        failure, done = None, False
        while (message := await connection.receive()) is not None:
            match message:
                case {"type": "failed", "failure": dict(reported)}:
                    failure = Failure.from_json(reported)
                    self._fail(failure)
                case {"type": "done"}:
                    done = True
        await connection.close()
        return failure, done

    async def _serve_pmi(self, wires: socket.socket, space: pmi.KeyValues) -> None:
        """Answer a rank's MPI library until the rank ends."""
        reader, writer = await asyncio.open_connection(sock=wires, limit=LIMIT)
        try:
            await pmi.serve(reader, writer, space)
        except (pmi.PmiError, ConnectionError) as error:
            log.warning("a rank's MPI library gave up: %s", error)  # its exit code ends the job
        finally:
            writer.close()

    # --- ending ---

    def _on_stop_signal(self, number: signal.Signals) -> None:
        if self._ranks_through or self._outcome.done():
            log.info("%s changes nothing any more: the job is done", number.name)
            return
        name = signal.Signals(number).name
        self._fail(
            Failure(
                Kind.STOPPED, self._cluster.me, f"the job was stopped: {self._cluster.me} received {name}"
            )
        )

    def _fail(self, failure: Failure) -> None:
        """Report this host's first failure; the verdict for all hosts comes back, or its own stands."""
        if self._failure is not None or self._outcome.done():
            return
        self._failure = failure
        if self._link is None:
            self._conclude(failure)
            return
        self._link.send("failed", failure=failure.to_json())
        settings = self._launch.settings
        patience = settings.lost_timeout + settings.heartbeat_interval + _VERDICT_WAIT
        asyncio.get_running_loop().call_later(patience, self._conclude, failure)

    def _conclude(self, failure: Failure | None) -> None:
        if not self._outcome.done():
            self._outcome.set_result(failure)

    async def _end(self, failure: Failure | None) -> int:
        self._children.kill_all()
        if failure is not None:
            log.error("%s", failure.headline)
            if failure.details:
                log.info("details:\n%s", failure.details)
            artifacts.write_failure(self._launch.paths, failure)
        await self._children.all_ended(_KILLED_WAIT)
        if self._link is not None:
            await self._link.close()
        if self._coordinator is not None:
            await self._coordinator.drain()
        return 0 if failure is None else 1

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run beside everything else; an exception of it is a failure of this host like any other."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._take_back)

    def _take_back(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(Failure.of(error, self._cluster.me))
