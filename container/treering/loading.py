"""Reading files with all threads: whoever is free goes on where the next bytes are.

A source is what can only be gone through in order: a file, a part of one, or a row group. Drawing a task from
it reads (and decompresses) bytes, which one thread does at a time; running the task turns them into numbers,
which other threads do meanwhile. So one large file keeps all threads busy as well as many compressed ones do,
and nothing waits in a queue: at most one batch a thread is under way.

Files too small to be worth their own batch are read several at a time, since opening the parser costs as much
as thousands of rows.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from treering.memory_plan import require_room_to_read
from treering.readers.compression import has_suffix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from treering.readers.batch import Batch, Reader, Span
    from treering.storage import Storage

_SMALL: Final = 64 << 10  # bytes of a file that is not read alone
_TOGETHER: Final = 1 << 20  # bytes of such files in one batch
_FILES_TOGETHER: Final = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """A batch, and whose rows it has.

    Parameters
    ----------
    place
        Batches in ascending order of this are in the order of the rows.
    batch
        Possibly without rows.
    rows
        Spans by their number, and how many of the batch's rows each has, in the batch's order.
    """

    place: tuple[int, int]
    batch: Batch
    rows: tuple[tuple[int, int], ...]


type _Results = list[tuple[Batch, tuple[tuple[int, int], ...]]]
type _Task = Callable[[], _Results]


def threads_at_once(reader: Reader, spans: Sequence[Span], threads: int, storage: Storage) -> int:
    """How many threads may read at once, as far as there is memory for what they take meanwhile.

    Raises
    ------
    UserError
        There is not enough for one.
    """
    needed = {span.file: reader.working_memory(span.file) for span in spans}
    largest = max(needed, key=needed.__getitem__, default=None)
    if largest is None or not needed[largest]:
        return threads
    aside = storage.set_aside(needed[largest])
    require_room_to_read(largest.name, needed[largest], aside, "beside the rows that are there")
    return threads if storage.aside is None else max(1, min(threads, aside // needed[largest]))


def read(reader: Reader, spans: Sequence[Span], threads: int, deliver: Callable[[Loaded], None]) -> None:
    """Read `spans` and hand over each batch as soon as it is there, in any order, from any thread.

    Parameters
    ----------
    reader, spans
        What to read; spans are numbered as they stand.
    threads
        How many work.
    deliver
        Called by one thread at a time or by several.

    Raises
    ------
    UserError, PlatformError
        The first in the order of rows among those that came up.
    """
    work = _Work(_sources(reader, spans))
    if threads == 1:
        work.go_on(deliver)
    else:
        with ThreadPoolExecutor(threads, "load") as pool:
            for _ in range(threads):
                pool.submit(work.go_on, deliver)
    work.raise_first()


class _Source:
    """An iterator of tasks, drawn from by one thread at a time."""

    def __init__(self, number: int, tasks: Iterator[_Task]) -> None:
        self.number = number
        self.tasks = tasks
        self.drawn = 0


class _Work:
    """What is left to do."""

    def __init__(self, sources: Iterator[_Source]) -> None:
        self._changed = threading.Condition()
        self._ahead = sources
        self._idle: dict[int, _Source] = {}  # begun, and nobody draws from them just now
        self._busy = 0
        self._errors: list[tuple[tuple[int, int], BaseException]] = []

    def go_on(self, deliver: Callable[[Loaded], None]) -> None:
        """Work until nothing is left, or something failed."""
        place = (0, 0)
        try:
            while (source := self._take()) is not None:
                place = (source.number, source.drawn)
                task = self._draw(source)
                if task is None:
                    continue
                for step, (batch, rows) in enumerate(task()):
                    deliver(Loaded((place[0], place[1] + step), batch, rows))
        except BaseException as error:  # noqa: BLE001  # whatever it is, `raise_first` raises it
            with self._changed:
                self._errors.append((place, error))
                self._changed.notify_all()

    def raise_first(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._errors:
            raise min(self._errors, key=lambda each: each[0])[1]

    def _take(self) -> _Source | None:
        """The first source that nobody draws from; None once there is nothing left."""
        with self._changed:
            while not self._errors:
                source = self._idle.pop(min(self._idle)) if self._idle else next(self._ahead, None)
                if source is not None:
                    self._busy += 1
                    return source
                if not self._busy:
                    return None
                self._changed.wait()
            return None

    def _draw(self, source: _Source) -> _Task | None:
        """The next task, and the source is free for others; None if it is used up."""
        task = next(source.tasks, None)
        with self._changed:
            self._busy -= 1
            if task is not None:
                source.drawn += 1
                self._idle[source.number] = source
            self._changed.notify_all()
        return task


def _sources(reader: Reader, spans: Sequence[Span]) -> Iterator[_Source]:
    number = itertools.count()
    for group in _grouped(spans):
        if len(group) > 1:
            several = functools.partial(_several, reader, [(each, spans[each]) for each in group])
            yield _Source(next(number), iter([several]))
            continue
        for part in reader.cut(spans[group[0]]):
            yield _Source(next(number), _one_by_one(reader, part, group[0]))


def _grouped(spans: Sequence[Span]) -> Iterator[list[int]]:
    """Numbers of neighbouring spans: small files together, all others alone."""
    group: list[int] = []
    size = 0
    for number, span in enumerate(spans):
        is_small = span.file.size <= _SMALL and not has_suffix(span.file.name)
        if group and (not is_small or size >= _TOGETHER or len(group) == _FILES_TOGETHER):
            yield group
            group, size = [], 0
        if is_small:
            group.append(number)
            size += span.file.size
        else:
            yield [number]
    if group:
        yield group


def _one_by_one(reader: Reader, span: Span, number: int) -> Iterator[_Task]:
    for task in reader.tasks(span):
        yield functools.partial(_one, number, task)


def _one(number: int, task: Callable[[], Batch]) -> _Results:
    batch = task()
    return [(batch, ((number, batch.rows),))]


def _several(reader: Reader, spans: Sequence[tuple[int, Span]]) -> _Results:
    numbers, parts = zip(*spans, strict=True)
    is_whole = all(part.start == 0 and part.stop == reader.extent(part.file) for part in parts)
    together = reader.together(parts) if is_whole else None
    if together is not None:
        batch, rows = together
        batch = dataclasses.replace(batch, source_bytes=sum(part.file.size for part in parts))
        return [(batch, tuple(zip(numbers, rows, strict=True)))]
    batches = ((number, batch) for number, part in spans for batch in reader.read(part))
    return [(batch, ((number, batch.rows),)) for number, batch in batches]
