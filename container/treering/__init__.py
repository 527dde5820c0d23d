"""treering: gradient-boosted trees on any number of SageMaker hosts.

Scripts of your own call `world`, `load`, `train`, `allreduce` and `save`; see ``docs/script-mode.md``. Importing
this package alone starts nothing: MPI starts with the first of these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treering.api import Matrix, allreduce, load, save, train, world

__version__ = "0.1.0"
__all__ = ["Matrix", "__version__", "allreduce", "load", "save", "train", "world"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from treering import api  # noqa: PLC0415  # it starts MPI

    return getattr(api, name)
