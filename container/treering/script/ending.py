"""What a script leaves behind, looked at once it has ended well on all ranks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from treering import artifacts

if TYPE_CHECKING:
    from pathlib import Path

    from treering.paths import Paths
    from treering.world import World

    type Listing = list[list[str | int]]
    """Name, bytes and time of change of each file."""

_SHOWN = 3  # names in one line

log = logging.getLogger(__name__)


def tell(world: World, host: str, paths: Paths, model: Path) -> None:
    """Warn, once a job, of a model that is missing, or that other ranks than the first wrote as well; collective.

    Nothing is looked at before all ranks are through: one that shares a folder with another host would see a part.

    Parameters
    ----------
    world, host
        All ranks, and this one's host.
    paths
        The job's folders on this host.
    model
        Where this rank was to write models: elsewhere than the job's, but for rank 0.
    """
    world.barrier()
    aside = [name for name, _, _ in _files(model)] if world.rank else []
    everybody = world.allgather([host, _files(paths.model), aside])
    if world.rank:
        return
    first, whole = everybody[0][:2]
    tell_no_model(paths)
    for rank, (_, _, names) in enumerate(everybody):
        if names:
            log.warning(
                "rank %d on %s wrote %s as well: only what rank 0 writes is kept; write models where "
                "treering.world().rank == 0, and what each rank has to tell to SM_OUTPUT_DATA_DIR",
                rank,
                everybody[rank][0],
                _named(names),
            )
    # Local mode shows one folder to all hosts: equal files are one and the same.
    others = {where: found for where, found, _ in everybody if where != first and found and found != whole}
    for where, found in others.items():
        log.warning(
            "%s on %s holds %s: SageMaker puts the files of all hosts into one model.tar.gz, where those of one name "
            "replace each other; write models to SM_MODEL_DIR, on rank 0 alone",
            paths.model,
            where,
            _named([name for name, _, _ in found]),
        )


def tell_no_model(paths: Paths) -> None:
    """Warn of a model folder without files; to be asked once a job, on rank 0."""
    if not _files(paths.model):
        log.warning(
            "the script ended without a model: %s is empty; treering.save(model) on rank 0 writes %s there",
            paths.model,
            artifacts.MODEL_NAME,
        )


def _files(folder: Path) -> Listing:
    """What lies below a folder, which need not be there."""
    return [
        [path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
