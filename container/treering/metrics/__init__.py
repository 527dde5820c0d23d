"""Metrics of the whole data: the same numbers to the last bit, however the rows lie on ranks.

`Evaluator` is all that the rounds need. Behind it: `blocks` spreads rows over threads, `predictions` turns
margins into what is scored, `losses`, `tallies`, `curves`, `ranking` and `survival` hold the definitions,
`sums` and `ordered` make their sums and orders independent of the layout.
"""

from treering.metrics.evaluator import Evaluator
from treering.metrics.rows import Rows

__all__ = ["Evaluator", "Rows"]
