"""A metric's name in parts: ``ndcg@5-`` is ndcg, of the first 5, with a trailing minus."""

from __future__ import annotations

from typing import NamedTuple

from treering.tasks import base_name


class Name(NamedTuple):
    """A metric as a user names it.

    Parameters
    ----------
    base
        The name without what follows.
    number
        What stands behind the at-sign: a threshold, cut, share or power; None without one.
    minus
        Whether the name ends in a minus.
    """

    base: str
    number: float | None
    minus: bool

    @classmethod
    def of(cls, metric: str) -> Name:
        """Take a name apart that `treering.tasks.is_metric` knows."""
        number = metric.partition("@")[2].removesuffix("-")
        return cls(base_name(metric), float(number) if number else None, metric.endswith("-"))
