"""One list of categories for all hosts.

XGBoost sees only numbers: with another list on one host, it trains on nonsense without a word. The list
of a column is the sorted union of what the training rows of all hosts hold, so that neither layout nor
order shows in the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from treering.readers.encoding import MOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from treering.world import World

type Categories = Mapping[int, tuple[str, ...]]
"""Of each categorical feature column its categories, in the order of their codes."""


def agree(
    world: World,
    local: Mapping[int, Sequence[str]],
    first: Mapping[int, Sequence[str]] | None = None,
    most: int | None = None,
) -> Categories:
    """The sorted union of the ranks' own lists, for each categorical column; collective.

    Parameters
    ----------
    world, local
        All ranks, and the lists of this one.
    first
        Those of a model that training goes on from: they come before all others and in its order, so that they
        keep their codes.
    most
        Of one column; `MOST` if None.

    Raises
    ------
    OverflowError
        Together a column has more than `most`, on all ranks alike; its argument is the column.

    Notes
    -----
    Each rank in turn tells what no rank before it had, so nobody ever holds more than the union and one list.
    """
    fixed = {column: tuple(names) for column, names in (first or {}).items()}
    most = MOST if most is None else most
    given = world.allgather(sorted(local))
    union: dict[int, set[str]] = {column: set() for of_rank in given for column in of_rank}
    for rank in range(world.size) if union else ():
        fresh = [[column, sorted(set(names) - union[column])] for column, names in local.items()]
        for column, names in world.broadcast(fresh, rank):
            union[column].update(names)
            if len(union[column]) > most:
                raise OverflowError(column)
    return {
        column: fixed.get(column, ())
        + tuple(sorted(union.get(column, set()).difference(fixed.get(column, ()))))
        for column in sorted(union.keys() | fixed.keys())
    }


def recode(
    features: NDArray[np.float32], local: Mapping[int, Sequence[str]], agreed: Categories
) -> dict[int, int]:
    """Turn this rank's codes into the agreed ones, in place; a category that is not agreed becomes missing.

    Parameters
    ----------
    features
        float32, shape (rows, columns); NaN is missing.
    local
        The lists that the codes in `features` refer to.
    agreed
        From `agree`.

    Returns
    -------
    dict
        Of each column, how many rows became missing; columns without such rows are left out.
    """
    lost = {}
    for column, table in tables(local, agreed).items():
        features[:, column], unknown = recoded(features[:, column], table)
        if unknown:
            lost[column] = unknown
    return lost


def tables(local: Mapping[int, Sequence[str]], agreed: Categories) -> dict[int, NDArray[np.float32]]:
    """Of each column the agreed code of each of this rank's own, NaN where there is none; NaN is the last."""
    found = {}
    for column, names in local.items():
        places = {name: code for code, name in enumerate(agreed.get(column, ()))}
        found[column] = np.array([*(places.get(name, np.nan) for name in names), np.nan], np.float32)
    return found


def recoded(codes: NDArray[np.float32], table: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """A column's agreed codes, and how many rows lost their category that way."""
    missing = table.size - 1
    places = np.nan_to_num(codes, nan=missing).astype(np.int64)
    found = table[places]
    unknown = int(np.count_nonzero(np.isnan(found)) - np.count_nonzero(places == missing))
    return found, unknown
