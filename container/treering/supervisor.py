"""One per container, PID 1: joins the ring, runs this host's ranks, and makes sure all hosts end alike.

Imports neither MPI nor XGBoost, so that it is up and can report before anything heavy is loaded, and
stays responsive while ranks compute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from treering import __version__, artifacts, job, logs, pmi
from treering.cluster import Cluster
from treering.errors import Failure, Kind, PlatformError, RingError, TreeringError
from treering.launch import Launch
from treering.link import Link, dial, join
from treering.pace import Teller
from treering.paths import Paths
from treering.processes import Children
from treering.ranks import Rank
from treering.rendezvous import Coordinator
from treering.script import program
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from treering.cluster import Interface
    from treering.frames import Connection
    from treering.vitals import Signs

_VERDICT_WAIT = 5.0  # seconds, beyond what silence takes to be noticed, in which the verdict must come
_STACK_WAIT = 0.5  # seconds for ranks to print where they hang
_KILLED_WAIT = 5.0  # seconds until killed ranks are gone
_STOP_WAIT = 5.0  # seconds for a host that is asked to stop to join, so that the others hear of it

log = logging.getLogger(__name__)


def run(launch: Launch) -> int:
    """Run this host's part of the job to its end on all hosts; returns the container's exit code."""
    return asyncio.run(_Supervisor(launch).run())


def train() -> int:
    """What the image runs: read who takes part, then `run` the built-in rank program, or the job's own."""
    paths = Paths.from_environment()
    scratch = contextlib.ExitStack()
    try:
        resources = job.read_resources(paths)
        cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, os.environ)
        module = "treering.worker"
        if program.find(paths, os.environ) is not None:
            module = "treering.script.runner"
            os.environ[program.SCRATCH_VARIABLE] = _scratch_folder(scratch)
    except TreeringError as error:
        logs.to_stdout("treering")
        failure = Failure.of(error, "this host")
        log.error("%s", failure.headline)  # noqa: TRY400  # a sentence, no traceback
        artifacts.write_failure(paths, failure)
        return 1
    logs.to_stdout(cluster.me)
    settings = Settings.read(paths, os.environ)
    name = job.job_name(resources, os.environ)
    command = (sys.executable, "-m", module)
    with scratch:
        return run(Launch(name, cluster, settings, paths, command, reports_done=True))


def _scratch_folder(stack: contextlib.ExitStack) -> str:
    """A folder for what this host's ranks unpack and install, gone with the job; raises PlatformError."""
    try:
        return stack.enter_context(
            tempfile.TemporaryDirectory(prefix="treering-", ignore_cleanup_errors=True)
        )
    except OSError as error:
        raise PlatformError(
            f"there is no folder for temporary files: {error}; mount /tmp writable"
        ) from error


class _Supervisor:
    """The state of one run. ``_outcome`` is settled once: None when all went well, else the failure."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._cluster = launch.cluster
        self._started = time.monotonic()
        self._coordinator: Coordinator | None = None
        self._link: Link | None = None
        self._failure: Failure | None = None
        self._ranks: list[Rank] = []
        self._teller = Teller.from_environment(os.environ)
        self._ranks_through = False
        self._stop: Failure | None = None  # that this host was asked to
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
        connection = await self._reach_first_host(interface)
        link = self._link = Link(connection, self._launch, self._signs, self._stop_ranks)
        self._spawn(self._follow(link.outcome()))
        self._spawn(self._follow(link.keep_alive()))
        if self._stop is not None:
            link.stop(self._stop)
            return
        if self._coordinator is not None:
            artifacts.check_writable(self._launch.paths)
        await self._run_ranks(interface, link)

    async def _reach_first_host(self, interface: Interface) -> Connection:
        if self._cluster.me == self._cluster.first:
            return await self._host_rendezvous(interface.address)
        return await dial(self._launch, self._started + self._launch.settings.rendezvous_timeout)

    async def _follow(self, last_word: Coroutine[None, None, Failure | None]) -> None:
        try:
            self._conclude(await last_word)
        except RingError as error:
            lost = Failure.of(error, self._cluster.me)
            # Without a verdict, what failed on this host itself may be nearer to the cause.
            self._conclude(min(self._failure or lost, lost, key=lambda each: each.kind.rank_order))

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
        connection = await self._coordinator.local_link()
        await join(connection, self._launch)
        return connection

    # --- this host's ranks ---

    async def _run_ranks(self, interface: Interface, link: Link) -> None:
        count = self._launch.settings.ranks_per_host
        mapping = pmi.process_mapping(self._launch.world_size)
        space = pmi.KeyValues(link.exchange, mapping, count)
        first = self._cluster.index * count
        self._ranks = [Rank(first + i, self._launch, self._fail, link.beat) for i in range(count)]
        self._spawn(self._watch_ranks())
        ended = await asyncio.gather(*(rank.run(self._children, interface, space) for rank in self._ranks))
        if all(ended):
            self._ranks_through = True
            link.done(next((rank.kept for rank in self._ranks if rank.kept), None))

    async def _watch_ranks(self) -> None:
        interval = self._launch.settings.heartbeat_interval
        last = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            now = time.monotonic()
            for rank in self._ranks:
                rank.look(now - last, interval)
            last = now
            self._teller.look({each.rank: each.position for each in self._signs()})

    def _signs(self) -> list[Signs]:
        found = (rank.signs() for rank in self._ranks)
        return [each for each in found if each is not None]

    def _stop_ranks(self) -> None:
        """The first host asks all hosts to stop: the ranks finish their round and agree on the end."""
        log.info("asked to stop: the ranks finish their round")
        for rank in self._ranks:
            rank.stop()

    # --- ending ---

    def _on_stop_signal(self, number: signal.Signals) -> None:
        name = signal.Signals(number).name
        if self._ranks_through or self._outcome.done():
            log.info("%s changes nothing any more: the job is done", name)
            return
        again = " again" if self._stop else ""
        sentence = f"the job was stopped: {self._cluster.me} received {name}{again}"
        failure = Failure(Kind.STOPPED, self._cluster.me, sentence)
        if again:
            self._fail(failure)
        elif self._link is not None:
            self._link.stop(failure)
        else:  # the others hear of it when this host joins, if that is soon
            asyncio.get_running_loop().call_later(_STOP_WAIT, self._fail_if_alone, failure)
        self._stop = failure

    def _fail_if_alone(self, failure: Failure) -> None:
        if self._link is None:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        """Report what failed on this host; the verdict for all hosts comes back, or its own stands.

        The first failure is reported, and after it only one that is nearer to the cause.
        """
        if self._outcome.done():
            return
        if self._failure is not None and failure.kind.rank_order >= self._failure.kind.rank_order:
            return
        self._failure = failure
        if self._link is None:
            self._conclude(failure)
            return
        self._link.failed(failure)
        settings = self._launch.settings
        patience = settings.lost_timeout + settings.heartbeat_interval + _VERDICT_WAIT
        asyncio.get_running_loop().call_later(patience, self._conclude, failure)

    def _conclude(self, failure: Failure | None) -> None:
        if not self._outcome.done():
            self._outcome.set_result(failure)

    async def _end(self, failure: Failure | None) -> int:
        # Nothing changes the outcome any more; asyncio would restore the default handlers on its way out.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        if failure is not None and failure.kind is Kind.STALLED:
            for rank in self._ranks:
                rank.show_stack()
            await asyncio.sleep(_STACK_WAIT)
        self._children.kill_all()
        if failure is not None:
            log.error("%s", failure.headline)
            if failure.details:
                log.info("details:\n%s", failure.details)
            artifacts.write_failure(self._launch.paths, failure)
        await self._children.all_ended(_KILLED_WAIT)
        await self._children.end_descendants(_KILLED_WAIT)
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
