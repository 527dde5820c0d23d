"""The rank program of a job with a program of its own: everything about it, and then the user's own code.

A Python script runs in this very process, as ``__main__``, with MPI up before its first line. What is meant for
a shell runs as a child, and starts MPI itself if it wants any.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import site
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from treering import worker
from treering.cluster import Cluster
from treering.errors import PlatformError, ScriptError, UserError
from treering.processes import describe_exit
from treering.progress import SCRIPT
from treering.report import STATUS_VARIABLE
from treering.script import ending, environment, failures, program, source
from treering.script.program import SCRATCH_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from treering.job import JobConfig
    from treering.paths import Paths
    from treering.progress import Progress
    from treering.script.program import Program
    from treering.script.source import Code

_SHELL = "/bin/bash"
_OF_THIS_PROCESS = ("PMI_FD", "PMI_RANK", "PMI_SIZE", STATUS_VARIABLE)

log = logging.getLogger("treering.script.runner")  # and not __main__, which is the script's


def main() -> NoReturn:
    """Run one rank of a job with a program of its own."""
    worker.run_rank(_run, is_script=True)


@dataclasses.dataclass(frozen=True, slots=True)
class _Run:
    """What is about to run, and all it is told."""

    program: Program
    code: Code
    arguments: list[str]
    values: dict[str, Any]
    cluster: Cluster
    scratch: Path

    @property
    def entry(self) -> Path:
        """The script."""
        return self.code.folder / self.program.entry

    @property
    def line(self) -> str:
        """What is run, for the log."""
        return " ".join([self.program.entry, *self.arguments]) if self.program.entry else self.program.command

    def tell(self, paths: Paths, name: str, rank: int) -> Path:
        """Set the variables that the program of this rank reads; where it is to write models.

        That is the job's folder for rank 0. What others write would replace its files, or be written at the same
        moment where hosts share the folder: they get one that nobody keeps.
        """
        model = paths.model
        if rank:
            model = self.scratch / f"model-of-rank-{rank}"
            model.mkdir()
        os.environ |= environment.variables(
            paths, name, self.cluster, self.program, self.code.folder, model, self.values
        )
        return model


def _run(paths: Paths, config: JobConfig, progress: Progress) -> None:
    progress.phase("preparing the script")
    asked = program.find(paths, os.environ)
    scratch = os.environ.get(SCRATCH_VARIABLE)
    if asked is None or scratch is None:
        raise PlatformError(
            f"no script is named, or no {SCRATCH_VARIABLE}: this program is started by `train` alone"
        )
    resources = config.resources
    cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, {})
    code = source.lay_out(asked, Path(scratch), os.environ)
    values = environment.own(config.hyperparameters)
    arguments = environment.arguments(values, is_v3=asked.is_v3)
    run = _Run(asked, code, arguments, values, cluster, Path(scratch))
    if asked.entry.endswith(".py"):
        _run_python(run, paths, config, progress)
    elif asked.command or asked.entry.endswith(".sh"):
        _run_shell(run, paths, config, progress)
    else:
        raise UserError(f"{asked.entry} is neither a .py nor a .sh file: nothing here can run it")


def _run_python(run: _Run, paths: Paths, config: JobConfig, progress: Progress) -> None:
    try:  # told before the ring is formed
        compiled = compile(run.entry.read_bytes(), run.entry, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        told = failures.told(error, run.code.folder)
        if isinstance(told, UserError):
            raise told from error
        raise UserError(f"{run.program.entry} is no Python script: {error}") from error
    from treering import session  # noqa: PLC0415  # it starts MPI

    current = session.begin(paths, config, progress)
    log.info("the ring is formed: %d rank(s); running %s", current.world.size, run.line)
    model = run.tell(paths, config.name, current.world.rank)
    os.chdir(run.code.folder)
    for name in _OF_THIS_PROCESS:  # what the script starts is no rank
        os.environ.pop(name, None)
    for folder in run.code.packages:
        site.addsitedir(str(folder))
    sys.argv = [str(run.entry), *run.arguments]
    sys.path[0] = str(run.entry.parent)
    progress.phase(SCRIPT, unit="calls")
    try:
        _as_main(run.entry, compiled)
    except BaseException as error:
        told = failures.told(error, run.code.folder)
        if told is error:
            raise
        raise told from error
    progress.phase("the end of the script")
    current.tell_interruption()
    if current.is_up:
        ending.tell(current.end, run.cluster.me, paths, model)
        current.end.leave()


def _as_main(entry: Path, compiled: types.CodeType) -> None:
    """Run the script as Python would, to the end of its threads and its exit handlers."""
    module = types.ModuleType("__main__")
    module.__file__ = str(entry)
    sys.modules["__main__"] = module
    try:
        exec(compiled, module.__dict__)  # noqa: S102  # it is what the user asked for
    except SystemExit as error:
        if error.code:
            raise
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001  # this process leaves hard, and nothing else runs them


def _run_shell(run: _Run, paths: Paths, config: JobConfig, progress: Progress) -> None:
    """Run it as a child of this rank, which stands for it."""
    log.info("running %s", run.line)
    rank = os.environ.get("PMI_RANK", "0")
    run.tell(paths, config.name, int(rank))
    line = [_SHELL, "-c", run.program.command]
    if run.program.entry:
        line = [_SHELL, run.program.entry, *run.arguments]
    environ = dict(os.environ)
    _put_first(environ, "PYTHONPATH", map(str, run.code.packages))
    _put_first(
        environ, "PATH", [str(Path(sys.executable).parent)]
    )  # its `python` is the one that has our packages
    wires = [int(each) for each in [os.environ.get("PMI_FD")] if each]
    progress.phase(SCRIPT, unit="calls")
    ended = subprocess.run(line, check=False, cwd=run.code.folder, env=environ, pass_fds=wires)
    if ended.returncode:
        raise ScriptError(
            f"{run.program.name} {describe_exit(ended.returncode)}; see the last lines of its log"
        )
    if rank == "0":
        ending.tell_no_model(paths)


def _put_first(environ: dict[str, str], name: str, folders: Iterable[str]) -> None:
    """Have a search path begin with some folders."""
    environ[name] = os.pathsep.join([*folders, *filter(None, [environ.get(name)])])


if __name__ == "__main__":
    main()
