"""What readers take and give: files, spans of files, and batches of numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

NEARLY_ALL: Final = math.nextafter(1, 0)
"""Of a file's cells: some are missing, nobody knows how many."""


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """One file of a channel.

    Parameters
    ----------
    path
        Where it lies on this host.
    name
        Its path below the channel's folder, with ``/``; what messages show and files are sorted by.
    position
        Its place in the sorted list of the channel's files on all hosts: half of a row's identity.
    size
        Bytes.
    modified
        When this host's copy was written last, in nanoseconds as its mount says it; None where that is not known.
    """

    path: Path = dataclasses.field(compare=False)  # the rest tells files apart, and is hashed much faster
    name: str
    position: int
    size: int
    modified: int | None = dataclasses.field(default=None, compare=False)  # each host's copy has another time


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """The half-open range ``[start, stop)`` of one file, in its reader's unit (bytes or rows)."""

    file: File
    start: int
    stop: int


type ColumnType = Literal["float", "integer", "boolean", "date", "decimal", "category"]


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """The feature columns of one file, label and weight not among them.

    Parameters
    ----------
    count
        How many; for LIBSVM unknown before the rows are read, hence 0.
    names
        Their names where the format has them, else None.
    types
        What stands in each; all end as float32. None where the format does not say.
    """

    count: int
    names: tuple[str, ...] | None = None
    types: tuple[ColumnType, ...] | None = None

    @property
    def categorical(self) -> tuple[int, ...]:
        """The columns that hold categories."""
        return tuple(column for column, kind in enumerate(self.types or ()) if kind == "category")

    def name(self, column: int) -> str:
        """What to call a column in a message: its name, else its position from 0."""
        return repr(self.names[column]) if self.names else str(column)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of one span, as numbers.

    Parameters
    ----------
    features
        float32, shape (rows, columns): a dense array in Fortran order (columns are contiguous, as the
        cuts need them), or a CSR array whose width may grow from batch to batch. Missing is NaN in a
        dense array and absent in a CSR array.
    label
        float32, shape (rows,).
    weight
        float32, shape (rows,), or None where no row carries one: each then weighs 1. LIBSVM rows name a
        weight or not one by one, so batches of one file may differ.
    group
        int64, shape (rows,): the query group (qid) of each row, or None where the data has no groups.
    label_upper
        float32, shape (rows,), possibly +inf: the upper end of each label's interval, `label` being the
        lower one; or None.
    base_margin
        float32, shape (rows,) or for several outputs (rows, outputs); or None.
    source_bytes
        Bytes of the file that were read for these rows, as they lie on disk.
    """

    features: NDArray[np.float32] | csr_array
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None
    group: NDArray[np.int64] | None = None
    label_upper: NDArray[np.float32] | None = None
    base_margin: NDArray[np.float32] | None = None
    source_bytes: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.label.shape[0])


type Unit = Literal["bytes", "rows"]


class Divider(Protocol):
    """How files of one format are divided among ranks."""

    unit: ClassVar[Unit]

    def extent(self, file: File) -> int:
        """Size of a file in this reader's unit: bytes of text, or rows."""

    def divisible(self, file: File) -> bool:
        """Whether a file may be cut, as far as its name tells; what its bytes tell, `boundaries` obeys."""

    def survey(self, file: File, start: int, stop: int) -> int:
        """What has to be counted between two targets before boundaries can be placed.

        CSV counts quote characters, since a line end inside quotes ends no row; ranks share this work.
        Formats that need no survey return 0 without opening the file.
        """

    def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:
        """The places in `file`, near each target, where reading may start (ascending like `targets`).

        ``surveys[i]`` is the survey of the part that ends at ``targets[i]`` and begins at the target
        before it (or at 0).

        The result is what separates spans: reading all spans between consecutive boundaries, from 0 to
        `extent`, yields every row exactly once.
        """


class Reader(Divider, Protocol):
    """One format. A reader holds the options of its channel and no open files."""

    def columns(self, file: File) -> Columns:
        """Feature columns of one file; raises UserError where they cannot be told."""

    def categories(self) -> Mapping[int, tuple[str, ...]]:
        """Of each categorical column what its codes stand for, as far as this reader has read."""

    def working_memory(self, file: File) -> int:
        """Bytes that each thread takes while it reads `file`, besides the rows that it has handed over."""

    def present(self, file: File, head: bytes) -> float:
        """The part of the cells of `file` that hold a value, from 0 to 1, as far as its first rows or its footer tell.

        Parameters
        ----------
        file, head
            The file, and the first bytes of its text; none where it is no text.

        Returns
        -------
        float
            `NEARLY_ALL` where that is not known.
        """

    def read(self, span: Span) -> Iterator[Batch]:
        """Yield the rows of `span` in order; raises UserError with file, line or row, and column."""

    def cut(self, span: Span) -> list[Span]:
        """The parts of `span` that can be read side by side, each by one thread at a time."""

    def tasks(self, span: Span) -> Iterator[Callable[[], Batch]]:
        """What `read` does, divided: drawing tasks goes through the file, and any thread may run one.

        What they return are the batches of `read`, but some may be empty.
        """

    def together(self, spans: Sequence[Span]) -> tuple[Batch, list[int]] | None:
        """Read several small files at once, as one batch, and tell how many rows each has.

        None where they have to be read one by one: they are unlike, or not plainly right.
        """
