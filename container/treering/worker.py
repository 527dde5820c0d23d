"""The rank program of the built-in job: from config files to the model, in the order of the data's way."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from treering import job, logs
from treering.errors import Failure
from treering.hyperparameters import Hyperparameters
from treering.paths import Paths
from treering.progress import Progress
from treering.report import STACK_SIGNAL, Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from treering.job import JobConfig

log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Run one rank of the built-in job."""
    run_rank(_train)


def run_rank(work: Callable[[Paths, JobConfig, Progress], None], *, is_script: bool = False) -> NoReturn:
    """Do `work` as one rank, tell its end, and leave hard: an ordinary exit could wait for peers that are gone.

    Whatever ends `work` other than by returning, ``SystemExit(0)`` included, ends the job with its reason. Where
    `work` is a user's script, the process's log is left to it.
    """
    faulthandler.enable()
    faulthandler.register(STACK_SIGNAL)  # a rank that hangs is asked where
    reporter = Reporter(os.environ)
    host, code = "this host", 1
    try:
        paths = Paths.from_environment()
        host = job.read_resources(paths).current_host
        logs.to_stdout(host, ours_alone=is_script)
        work(paths, job.read(paths, os.environ), Progress(reporter))
        reporter.done()
        code = 0
    except BaseException as error:  # noqa: BLE001  # whatever ends a rank has to end the job, with its reason
        reporter.failed(Failure.of(error, host))
    finally:
        with contextlib.suppress(OSError, ValueError):  # a closed or full stdout is no reason to stay
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _train(paths: Paths, config: JobConfig, progress: Progress) -> None:
    """Everything between the config files and the model.

    Imports follow the work: a mistake in the config is told before anything heavy is loaded, and MPI,
    which waits for the slowest host to start, is up before XGBoost is.
    """
    chosen = Hyperparameters.parse(config.hyperparameters)
    from treering.world import World  # noqa: PLC0415  # importing it starts MPI

    world = World(on_wait=progress.wait)
    log.info("the ring is formed: %d rank(s)", world.size)
    with _hidden("sklearn"):
        from treering import algorithm  # noqa: PLC0415  # imports XGBoost and Arrow

    algorithm.run(world, config, chosen, paths, progress)
    world.leave()


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let an optional package look absent: XGBoost would import all of scikit-learn for its wrappers."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own way to say: not to be found
    try:
        yield
    finally:
        del sys.modules[package]


if __name__ == "__main__":
    main()
