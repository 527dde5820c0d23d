"""The state behind a script's calls: its world, its job, and what it has loaded and trained so far.

Importing this module starts MPI, as importing `treering.world` does.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mpi4py import MPI

import treering
from treering import job
from treering.errors import UserError
from treering.paths import Paths
from treering.progress import SCRIPT, Progress
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treering.job import JobConfig
    from treering.loaded import Matrix
    from treering.training import Trained


class Session:
    """One rank's part in a script.

    Parameters
    ----------
    paths
        Where the job's files lie.
    config
        The job; None reads it when it is asked for: a script that is started by hand may do without.
    progress
        Hears where the script is.
    """

    def __init__(self, paths: Paths, config: JobConfig | None, progress: Progress) -> None:
        everybody = World()
        everybody.barrier()  # the rest of MPI's start would wait busily for late hosts
        # Communicators of their own: no message of the script's, by mpi4py, can be taken for one of ours, and no
        # word of a rank that is through for one of a rank that goes on.
        self.world = World(MPI.COMM_WORLD.Dup(), progress.wait)
        self.end = World(MPI.COMM_WORLD.Dup(), progress.wait)
        self.paths = paths
        self._config = config
        self._progress = progress
        self._calls = 0
        self.train: Matrix | None = None  # the rows that all other channels follow
        self.trainings = 0
        self.interrupted: Trained | None = None
        self.saved = False  # the model, since the job was asked to stop

    @property
    def config(self) -> JobConfig:
        """The job; raises UserError or PlatformError where there is none, or it cannot be read."""
        if self._config is None:
            if not self.paths.config.is_dir():
                raise UserError(
                    f"there is no job here, and so no channel ({self.paths.config} does not exist); start the script "
                    "by an estimator or by `treering local`"
                )
            self._config = job.read(self.paths, os.environ)
        return self._config

    @property
    def host(self) -> str:
        """The name of this host, for messages."""
        return "this host" if self._config is None else self._config.resources.current_host

    @property
    def is_up(self) -> bool:
        """Whether MPI still is: a script may have shut it down itself."""
        return not MPI.Is_finalized()

    @contextlib.contextmanager
    def working(self) -> Iterator[Progress]:
        """Leave the script's own code for work of ours, whose phases all ranks walk through alike."""
        yield self._progress
        self._progress.phase(SCRIPT, unit="calls", done=self._calls)

    def call(self) -> None:
        """Note a collective call: where some rank hangs, those that wait for it have made one more."""
        self._calls += 1
        self._progress.advance(self._calls)

    def tell_interruption(self) -> None:
        """Tell what is kept of a training that the job was asked to stop in, if there was one."""
        if self.interrupted is not None:
            kept = self.interrupted.what_is_kept(model=self.saved)
            self._progress.stopped(kept, saved_model=self.saved)


def begin(paths: Paths, config: JobConfig | None, progress: Progress) -> Session:
    """Start the session of this process, of which there is one; collective."""
    global _CURRENT  # noqa: PLW0603  # a script's calls name no session
    _CURRENT = Session(paths, config, progress)
    return _CURRENT


_CURRENT: Session | None = None


def current() -> Session:
    """The session of this process, begun now where a script runs outside of a job."""
    return _CURRENT or begin(Paths.from_environment(), None, Progress())


def world() -> World:
    """All ranks, seen from this one: ``rank``, ``size``, and what they can do together."""
    return current().world


# The name belongs to scripts; the submodule of that name took it when it was imported, and needs it no more.
treering.world = world
