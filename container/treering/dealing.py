"""From the files of ranks that see the same ones to the parts that each of them reads: every row once.

Ranks get near-equal parts of the files' total size, cut inside files where the format allows it. Files
that cannot be cut are dealt out first, the largest to whoever has least; the others fill the gaps.
"""

from __future__ import annotations

import bisect
import dataclasses
import heapq
import itertools
from typing import TYPE_CHECKING, Protocol

from treering.readers.batch import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from treering.channels import Group
    from treering.readers.batch import Divider, File


class Shared(Protocol):
    """Runs each task on one rank that can see its file, and tells every rank all results."""

    def __call__(self, tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
        """Results in the order of `tasks`; each task names the ranks that may run it."""


def run_alone(tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
    """`Shared` for a single process that sees all files."""
    return [task() for _, task in tasks]


def divide(
    groups: Sequence[Group], reader: Divider, shared: Shared, mine: Callable[[Group], bool]
) -> dict[int, list[Span]]:
    """The spans of each rank of the groups that are `mine`, in the order of files.

    Parameters
    ----------
    groups
        From `treering.channels.group_ranks`.
    reader
        The channel's format.
    shared
        How measuring is dealt out; collective where it talks to other ranks.
    mine
        Whether this host can look into a group's files.

    Notes
    -----
    Cost: one look at each file that has to be measured (Parquet), and one pass over those few CSV files
    that are cut, to tell line ends inside quotes from those that end a row.
    """
    extents = shared([(group.ranks, _extent(reader, file)) for group in groups for file in group.files])
    sizes = _regroup(extents, [len(group.files) for group in groups])
    deals = [_Deal.of(group, size, reader) for group, size in zip(groups, sizes, strict=True)]
    surveys = shared(
        [
            (deal.group.ranks, _survey(reader, file, start, stop))
            for deal in deals
            for file, edges in zip(deal.group.files, deal.targets, strict=True)
            for start, stop in itertools.pairwise([0, *edges])
        ]
    )
    counted = iter(surveys)
    spans: dict[int, list[Span]] = {}
    for deal in deals:
        surveyed = [[next(counted) for _ in edges] for edges in deal.targets]
        if mine(deal.group):
            places = [
                reader.boundaries(file, wanted, known) if wanted else []
                for file, wanted, known in zip(deal.group.files, deal.targets, surveyed, strict=True)
            ]
            spans |= deal.spans(places)
    return spans


def _extent(reader: Divider, file: File) -> Callable[[], int]:
    return lambda: reader.extent(file)


def _survey(reader: Divider, file: File, start: int, stop: int) -> Callable[[], int]:
    return lambda: reader.survey(file, start, stop)


def _regroup(values: list[int], counts: list[int]) -> list[list[int]]:
    remaining = iter(values)
    return [list(itertools.islice(remaining, count)) for count in counts]


@dataclasses.dataclass(frozen=True, slots=True)
class _Deal:
    """How the files of a group go to its ranks, before anybody has looked for row starts.

    Parameters
    ----------
    group
        Ranks and files.
    extents
        Size of each file.
    whole
        Of each file that is not to be cut, the part (position in the group's ranks) that it goes to.
    edges
        The other files laid end to end: where each part begins, and the end of the last.
    targets
        Of each file, the places strictly inside it at which it would have to be cut for that.
    """

    group: Group
    extents: list[int]
    whole: dict[int, int]
    edges: list[int]
    targets: list[list[int]]

    @classmethod
    def of(cls, group: Group, extents: list[int], reader: Divider) -> _Deal:
        indivisible = [number for number, file in enumerate(group.files) if not reader.divisible(file)]
        whole, loads = _deal_whole({number: extents[number] for number in indivisible}, len(group.ranks))
        lengths = [0 if number in whole else extent for number, extent in enumerate(extents)]
        edges = _level(loads, sum(lengths))
        starts = itertools.accumulate(lengths, initial=0)
        targets = [
            sorted({edge - start for edge in _between(edges, start, start + length)})
            for start, length in zip(starts, lengths, strict=False)
        ]
        return cls(group, extents, whole, edges, targets)

    def spans(self, places: list[list[int]]) -> dict[int, list[Span]]:
        """The spans of each rank, once `places` near the targets are known at which reading may start."""
        spans: dict[int, list[Span]] = {rank: [] for rank in self.group.ranks}
        before = 0
        for number, (file, extent) in enumerate(zip(self.group.files, self.extents, strict=True)):
            if number in self.whole:
                if extent:
                    spans[self.group.ranks[self.whole[number]]].append(Span(file, 0, extent))
                continue
            _require_tiles(file, extent, self.targets[number], places[number])
            ideal_starts = [0, *self.targets[number]]
            pieces = itertools.pairwise([0, *places[number], extent])
            for ideal, (start, stop) in zip(ideal_starts, pieces, strict=True):
                if stop > start:
                    part = bisect.bisect_right(self.edges, before + ideal) - 1
                    spans[self.group.ranks[part]].append(Span(file, start, stop))
            before += extent
        return spans


def _deal_whole(sizes: Mapping[int, int], parts: int) -> tuple[dict[int, int], list[int]]:
    """Give each file to the part that has least so far, the largest file first; and what each part has then."""
    loads = [(0, part) for part in range(parts)]
    owners = {}
    for number in sorted(sizes, key=lambda number: (-sizes[number], number)):
        load, part = loads[0]
        owners[number] = part
        heapq.heapreplace(loads, (load + sizes[number], part))
    return owners, [load for load, _ in sorted(loads, key=lambda each: each[1])]


def _level(loads: list[int], total: int) -> list[int]:
    """Where parts begin on a line of length `total` that fills those with the smallest loads up to one level."""
    ascending = sorted(loads)
    filled, level = 1, total + ascending[0]  # the level is level / filled: whole numbers, no rounding
    while filled < len(loads) and ascending[filled] * filled < level:
        level += ascending[filled]
        filled += 1
    shares = (max(0, level - load * filled) for load in loads)
    return [place // filled for place in itertools.accumulate(shares, initial=0)]


def _between(edges: list[int], start: int, stop: int) -> list[int]:
    """The edges in the open interval ``(start, stop)``."""
    return edges[bisect.bisect_right(edges, start) : bisect.bisect_left(edges, stop)]


def _require_tiles(file: File, extent: int, targets: list[int], places: list[int]) -> None:
    if len(places) != len(targets) or [0, *places, extent] != sorted([0, *places, extent]):
        raise RuntimeError(
            f"{file.name}: the places {places} to cut at do not tile its {extent} bytes or rows"
        )
