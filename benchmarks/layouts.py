"""What `invariance.py` varies: cases, which may change a model, and layouts, which must not.

The cases take every objective that has an exact form, twice, with opposite settings of row sampling, column
sampling and booster. Each case gets three layouts or more, chosen greedily until every two values of
different factors meet in some job (pairwise covering).
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from treering import losses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

type Placement = Literal[
    "even", "90/10", "sorted by label", "one host empty", "one file for all", "shuffled rows"
]
type Format = Literal["csv", "parquet"]
type Pair = frozenset[tuple[str, object]]

HOSTS: Final = (1, 2, 3, 4, 8)
THREADS: Final = (1, 2)
RANKS_PER_HOST: Final = (1, 2)
PLACEMENTS: Final[tuple[Placement, ...]] = Placement.__value__.__args__
FORMATS: Final[tuple[Format, ...]] = Format.__value__.__args__
MOST_RANKS: Final = 8
SAMPLED: Final = 0.7
SAMPLED_COLUMNS: Final = 0.6
_LAYOUTS = 3  # of each case at least
_FILES = 24  # of a case with row sampling, where a row is known by its file
# subsample, colsample_bytree and booster of an objective's two cases; each two values meet somewhere.
_OPPOSITES: Final = (
    ((1.0, 1.0, "gbtree"), (SAMPLED, SAMPLED_COLUMNS, "dart")),
    ((1.0, SAMPLED_COLUMNS, "gbtree"), (SAMPLED, 1.0, "dart")),
    ((1.0, 1.0, "dart"), (SAMPLED, SAMPLED_COLUMNS, "gbtree")),
    ((1.0, SAMPLED_COLUMNS, "dart"), (SAMPLED, 1.0, "gbtree")),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """Everything that may change the model.

    Parameters
    ----------
    data
        Name of the data set.
    objective, subsample, colsample, booster
        Hyperparameters that vary.
    more
        Others.
    formats
        In which its data can be written.
    """

    data: str
    objective: str
    subsample: float = 1.0
    colsample: float = 1.0
    booster: str = "gbtree"
    more: tuple[tuple[str, str], ...] = ()
    formats: tuple[Format, ...] = FORMATS

    @property
    def by_row(self) -> bool:
        """Whether it matters which row of which file a row is."""
        return self.subsample < 1

    @property
    def hyperparameters(self) -> dict[str, str]:
        """The case's own."""
        given = {"objective": self.objective, "booster": self.booster}
        given |= {"subsample": f"{self.subsample:g}", "colsample_bytree": f"{self.colsample:g}"}
        if self.booster == "dart":
            given |= {"rate_drop": "0.3", "one_drop": "1"}
        return given | dict(self.more)


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Everything that must not change the model."""

    hosts: int
    threads: int
    ranks_per_host: int
    placement: Placement
    format: Format

    @property
    def ranks(self) -> int:
        """Of all hosts."""
        return self.hosts * self.ranks_per_host

    def possible(self, case: Case) -> bool:
        """Whether there is such a layout: rows that are sampled cannot change their places in files."""
        return (
            (self.hosts > 1 or self.placement not in {"90/10", "one host empty"})
            and self.ranks <= MOST_RANKS
            and self.format in case.formats
            and not (case.by_row and self.placement == "shuffled rows")
        )


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """One file of the training channel: its rows in order, and the host that gets it (None: all do)."""

    name: str
    rows: NDArray[np.int64]
    host: int | None


def synthetic_cases(more: Mapping[str, tuple[tuple[str, str], ...]]) -> list[Case]:
    """Two cases for each objective, on data of the objective's name; `more` is by objective."""
    objectives = [*losses.FORMULAS, *sorted(losses.SOFTMAX)]
    return [
        Case(objective, objective, *settings, more.get(objective, ()))
        for objective, both in zip(objectives, itertools.cycle(_OPPOSITES), strict=False)
        for settings in both
    ]


def pairwise(cases: Sequence[Case], seed: int) -> dict[Case, list[Layout]]:
    """Layouts of each case, so that all possible pairs of values occur.

    Greedy: three rounds over all cases, then wherever most is missing.
    """
    random = np.random.default_rng(seed)
    candidates = {case: {layout: set(_pairs(case, layout)) for layout in _layouts(case)} for case in cases}
    missing = set().union(*(pairs for of_case in candidates.values() for pairs in of_case.values()))
    plan: dict[Case, list[Layout]] = {case: [] for case in cases}

    def take(jobs: Sequence[tuple[Case, Layout]]) -> None:
        # Of those that add most, the ones with the fewest ranks: they cost least.
        worth = [(len(candidates[case][layout] & missing), -layout.ranks) for case, layout in jobs]
        highest = max(worth)
        case, layout = _pick([job for job, each in zip(jobs, worth, strict=True) if each == highest], random)
        plan[case].append(layout)
        missing.difference_update(candidates[case][layout])

    for _, case in itertools.product(range(_LAYOUTS), cases):
        used = {layout.hosts for layout in plan[case]}
        take([(case, layout) for layout in candidates[case] if layout.hosts not in used])
    while missing:
        take([(case, layout) for case in cases for layout in candidates[case]])
    return plan


def count_pairs(plan: Mapping[Case, Sequence[Layout]]) -> int:
    """How many different pairs of values the jobs of a plan have."""
    return len(
        {pair for case, layouts in plan.items() for layout in layouts for pair in _pairs(case, layout)}
    )


def some(case: Case, count: int, seed: int) -> list[Layout]:
    """Random layouts of a case, each with another number of hosts."""
    random = np.random.default_rng(seed)
    hosts = random.permutation(HOSTS)[:count].tolist()
    return [_pick([layout for layout in _layouts(case) if layout.hosts == each], random) for each in hosts]


def deal(case: Case, layout: Layout, label: NDArray[np.float32], seed: int) -> list[File]:
    """The files of a job.

    Without row sampling, every placement makes files of its own: one a host, or one for all, or several of
    shuffled rows. With row sampling the files are always the same, and only their hosts vary.
    """
    random = np.random.default_rng(seed)
    by_label = case.by_row or layout.placement == "sorted by label"
    order = np.argsort(label, kind="stable") if by_label else np.arange(label.size)
    if layout.placement == "shuffled rows":
        order = random.permutation(label.size)
    if case.by_row:
        units = _cut(order, _FILES, seed)
    elif layout.placement == "one file for all":
        units = [order]
    elif layout.placement == "shuffled rows":
        units = _cut(order, int(random.integers(layout.hosts, 5 * layout.hosts)), seed)
    else:
        owners = _owners(layout, order.size, random)
        units = [order[owners == host] for host in range(layout.hosts)]
        return [File(f"{host:03d}", rows, host) for host, rows in enumerate(units) if rows.size]
    if layout.placement == "one file for all":
        return [File(f"{i:03d}", rows, None) for i, rows in enumerate(units)]
    owners = _owners(layout, len(units), random)
    return [File(f"{i:03d}", rows, int(owners[i])) for i, rows in enumerate(units)]


def _cut(order: NDArray[np.int64], files: int, seed: int) -> list[NDArray[np.int64]]:
    """Consecutive rows for each file, of very different sizes."""
    shares = np.random.default_rng(seed).exponential(1, files)
    edges = np.rint(np.cumsum(shares)[:-1] / shares.sum() * order.size)
    return np.split(order, edges.astype(np.int64))


def _owners(layout: Layout, units: int, random: np.random.Generator) -> NDArray[np.int64]:
    """The host of each unit, a row or a file."""
    number, hosts = np.arange(units), layout.hosts
    match layout.placement:
        case "90/10":
            return np.where(number < 0.9 * units, 0, 1 + number % (hosts - 1))
        case "sorted by label":
            return number * hosts // units
        case "one host empty":
            return (random.integers(hosts) + 1 + number % (hosts - 1)) % hosts
        case "shuffled rows":
            return random.integers(0, hosts, units)
        case _:
            return number % hosts


def _pick[T](items: Sequence[T], random: np.random.Generator) -> T:
    return items[int(random.integers(len(items)))]


def _layouts(case: Case) -> list[Layout]:
    values = itertools.product(HOSTS, THREADS, RANKS_PER_HOST, PLACEMENTS, FORMATS)
    return [layout for layout in itertools.starmap(Layout, values) if layout.possible(case)]


def _pairs(case: Case, layout: Layout) -> Iterator[Pair]:
    values = {
        "objective": case.objective,
        "subsample": case.subsample,
        "colsample": case.colsample,
        "booster": case.booster,
        "hosts": layout.hosts,
        "threads": layout.threads,
        "ranks_per_host": layout.ranks_per_host,
        "placement": layout.placement,
        "format": layout.format,
    }
    return map(frozenset, itertools.combinations(values.items(), 2))
