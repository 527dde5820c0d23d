"""What one row of the fault matrix is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, NamedTuple

from .jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .host import Host
    from .lab import Lab
    from .strikes import Strike

type Ending = Literal["named", "well", "either"]
type Kind = Literal["crash", "silence", "start", "stop", "disk", "stranger"]
type Need = Literal["network", "mounts"]


class Layout(NamedTuple):
    """How many hosts, and whether the first or the last one is at fault."""

    hosts: int
    first: bool

    @property
    def culprit(self) -> str:
        """Its name."""
        return "algo-1" if self.first else f"algo-{self.hosts}"

    def __str__(self) -> str:
        if self.hosts == 1:
            return "1 host"
        return f"{self.hosts} hosts, {'the first' if self.first else 'another'}"


ALL = tuple(Layout(hosts, first) for hosts in (1, 2, 3) for first in (True, False) if hosts > 1 or first)
SEVERAL = ALL[1:]
SOME = (ALL[0], ALL[2], ALL[3])
ON_FIRST = tuple(layout for layout in ALL if layout.first)


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the matrix.

    Parameters
    ----------
    name, kind
        What happens to the culprit.
    strike
        Brings it about, from outside.
    cause
        Regular expression that the sentence behind the culprit's name matches.
    ending
        ``named``: every host ends non-zero with culprit and cause. ``well``: the job goes on, every host ends
        with 0, and the model is there. ``either``: one of the two, on all hosts alike; any of them may be named.
    gone
        The culprit itself cannot tell any more.
    unreachable
        It cannot be told apart who was cut off: whoever lost the first host may say just that.
    job, layouts, environ
        What runs, where, and with which further variables.
    before
        What is done to the culprit before any host starts.
    afterwards
        What is done to it when the others have ended; then it, too, must end.
    absent
        The culprit is not started with the others: never, or by the strike.
    says
        Regular expression that is found in what the hosts print.
    needs
        What only root can give.
    container
        Further options of ``docker run`` for the culprit, where hosts are containers of the image; None where
        they are processes of this machine.
    """

    name: str
    kind: Kind
    strike: Strike
    cause: str = ""
    ending: Ending = "named"
    gone: bool = False
    unreachable: bool = False
    job: Job = dataclasses.field(default_factory=Job)
    layouts: tuple[Layout, ...] = ALL
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: Callable[[Lab, Host], None] | None = None
    afterwards: Callable[[Lab, Host], None] | None = None
    absent: bool = False
    says: str = ""
    needs: frozenset[Need] = frozenset()
    container: tuple[str, ...] | None = None
