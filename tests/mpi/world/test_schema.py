"""`treering.schema` over real ranks: one answer for all, and in a dispute the same sentence for all."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering import schema
from treering.errors import PlatformError, TreeringError, UserError
from treering.job import Channel
from treering.readers.batch import Columns, File
from treering.schema import Labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from treering.job import Distribution
    from treering.world import World

_NAMED = Columns(3, ("age", "height", "width"))


def _host(world: World) -> str:
    """Each rank is a host of its own here."""
    return f"algo-{world.rank + 1}"


def _last(world: World) -> str:
    return f"algo-{world.size}"


def _seen(world: World, *columns: Columns) -> list[tuple[File, Columns]]:
    names = [f"part-{world.rank}-{number}" for number in range(len(columns))]
    return [(File(Path(name), name, 0, 1), each) for name, each in zip(names, columns, strict=True)]


def _agree(world: World, *columns: Columns, width: int = 0) -> Columns:
    return schema.agree_columns(world, "train", _host(world), _seen(world, *columns), width)


def _told[E: TreeringError](world: World, kind: type[E], work: Callable[[], object]) -> str:
    """The sentence that `work` raises, which has to be the same on every rank."""
    with pytest.raises(kind) as raised:
        work()
    sentences = world.allgather(str(raised.value))
    assert sentences == [sentences[0]] * world.size
    return str(sentences[0])


# --- columns ---


@pytest.mark.parametrize("columns", [Columns(5), _NAMED])
def test_equal_columns_are_agreed(world: World, columns: Columns) -> None:
    """Number and names of the columns are those of every file on every rank."""
    assert _agree(world, columns, columns) == columns


def test_ranks_without_files_learn_the_columns(world: World) -> None:
    """A rank with nothing to read agrees to what the others have."""
    mine = [_NAMED] if world.rank == world.size - 1 else []
    assert _agree(world, *mine) == _NAMED


def test_nobody_with_files_has_no_columns(world: World) -> None:
    """Without any file there is nothing to tell but the width, which is 0."""
    assert _agree(world) == Columns(0)


def test_the_widest_sparse_shard_counts(world: World) -> None:
    """Formats that do not tell their columns beforehand are as wide as the widest row of all ranks."""
    assert _agree(world, Columns(0), width=3 + world.rank) == Columns(2 + world.size)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Columns(3, ("age", "width", "height")), "2: 'width', 3: 'height'"),
        (Columns(3, ("age", "height", "depth")), "3: 'depth'"),
        (Columns(2, ("age", "height")), "2 feature columns"),
        (Columns(4, ("age", "height", "width", "more")), "4: 'more'"),
        (Columns(4), "4 feature columns"),
    ],
)
def test_a_rank_with_other_columns_is_named(world: World, other: Columns, told: str) -> None:
    """The sentence has the file, the host and the columns that differ, on both sides."""
    mine = other if world.rank == world.size - 1 else _NAMED
    if world.size == 1:
        assert _agree(world, mine).count == other.count
        return
    sentence = _told(world, UserError, lambda: _agree(world, mine))
    assert sentence.startswith(f"channel train: part-{world.size - 1}-0 on {_last(world)} has ")
    assert "part-0-0 on algo-1 has 3 feature columns" in sentence
    assert told in sentence


def test_files_of_one_rank_that_differ_are_named(world: World) -> None:
    """Two files of the last rank are enough for all ranks to be told."""
    mine = [_NAMED, Columns(7)] if world.rank == world.size - 1 else []
    sentence = _told(world, UserError, lambda: _agree(world, *mine))
    last = world.size - 1
    assert f"part-{last}-1 on {_last(world)} has 7 feature columns" in sentence
    assert f"part-{last}-0 on {_last(world)} has 3 feature columns" in sentence


def test_the_number_of_columns_counts_without_names(world: World) -> None:
    """Files without names differ by their number of columns alone."""
    sentence = _told(world, UserError, lambda: _agree(world, Columns(3), Columns(4)))
    assert "part-0-1 on algo-1 has 4 feature columns" in sentence
    assert "part-0-0 on algo-1 has 3 feature columns" in sentence


def test_a_file_without_rows_has_no_say(world: World) -> None:
    """A file of which no column can be told, as it has no rows, differs from nothing."""
    assert _agree(world, Columns(0), _NAMED) == _NAMED


def test_categories_on_one_rank_and_numbers_on_another_are_told(world: World) -> None:
    """A column that is text in one file and numbers in another is named with both places."""
    as_text = Columns(2, ("a", "b"), ("float", "category"))
    assert _agree(world, as_text, as_text).categorical == (1,)
    if world.size > 1:
        with pytest.raises(UserError, match=r"column 'b' holds categories in .* but numbers in "):
            _agree(world, as_text, Columns(2, ("a", "b"), ("float", "float")))


# --- channels ---


def _channels(*channels: Channel) -> dict[str, Channel]:
    return {channel.name: channel for channel in channels}


def test_all_hosts_learn_all_channels(world: World) -> None:
    """A channel that only the last host was given belongs to the job of all."""
    train, validation = Channel("train", "text/csv", "ShardedByS3Key"), Channel("validation", "text/csv")
    mine = _channels(train, validation) if world.rank == world.size - 1 else _channels(train)
    agreed = schema.agree_channels(world, _host(world), mine)
    assert list(agreed.items()) == [("train", train), ("validation", validation)]


def test_channels_described_differently_are_told(world: World) -> None:
    """Both hosts are named, and what each was told."""
    distributions: tuple[Distribution, ...] = ("FullyReplicated", "ShardedByS3Key")
    mine = _channels(Channel("train", "text/csv", distributions[world.rank == world.size - 1]))
    if world.size == 1:
        assert schema.agree_channels(world, _host(world), mine) == mine
        return
    sentence = _told(world, PlatformError, lambda: schema.agree_channels(world, _host(world), mine))
    for part in ("channel train", "algo-1", _last(world), *distributions):
        assert part in sentence


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "no channel named train (channels of this job: none)"),
        (["validation"], "no channel named train (channels of this job: validation)"),
        (["train", "tst", "extra"], "Extraneous channel found: extra, tst; "),
        (["train", "test", "training"], "channels train and training are for one and the same"),
        (["train", "checkpoint", "model"], "channels checkpoint and model are for one and the same"),
    ],
)
def test_channels_that_are_missing_or_ignored_are_told(world: World, names: list[str], told: str) -> None:
    """All ranks refuse, also those whose host was told of fewer channels."""
    given = names if world.rank == world.size - 1 else names[:1]
    mine = _channels(*map(Channel, given))
    assert told in _told(world, UserError, lambda: schema.agree_channels(world, _host(world), mine))


def test_channels_are_known_by_what_they_are_for(world: World) -> None:
    """Whatever its name and place in the file, each has its role, and the training data comes first."""
    mine = _channels(*map(Channel, ("validation", "checkpoint", "test", "training")))
    agreed = schema.agree_channels(world, _host(world), mine)
    assert [(role, channel.name) for role, channel in agreed.items()] == [
        ("train", "training"),
        ("validation", "validation"),
        ("test", "test"),
        ("model", "checkpoint"),
    ]


# --- labels ---


def test_labels_of_all_ranks_are_seen_together(world: World) -> None:
    """Rows add up, the extremes are those of any rank."""
    mine = np.array([world.rank - 1, world.rank + 1], np.float32)
    assert schema.agree_labels(world, mine) == Labels(2 * world.size, -1, world.size, whole=True)


def test_an_empty_rank_says_nothing_about_labels(world: World) -> None:
    """A rank without rows changes neither the extremes nor the rest."""
    rows = [2.5, -7, 1e30] if world.rank == world.size - 1 else []
    expected = Labels(3, -7, float(np.float32(1e30)), whole=False)
    assert schema.agree_labels(world, np.array(rows, np.float32)) == expected


def test_one_broken_label_is_noticed_by_all(world: World) -> None:
    """A single label on one rank that is no whole number counts for the whole data."""
    mine = np.arange(10, dtype=np.float32)
    if world.rank == world.size - 1:
        mine[3] = 3.25
    assert schema.agree_labels(world, mine) == Labels(10 * world.size, 0, 9, whole=False)


def test_no_labels_at_all(world: World) -> None:
    """Without rows the extremes are those of nothing."""
    expected = Labels(0, np.inf, -np.inf, whole=True)
    assert schema.agree_labels(world, np.empty(0, np.float32)) == expected


# --- settings ---


def test_equal_settings_pass(world: World) -> None:
    """Values that read alike are alike, in any order."""
    parameters = {"eta": 0.1, "max_depth": 6} if world.rank else {"max_depth": "6", "eta": "0.1"}
    schema.agree_settings(world, _host(world), parameters)


def test_settings_that_differ_are_named_on_every_rank(world: World) -> None:
    """The sentence has the name and the values on both hosts, absent ones as well, and not too many."""
    mine: dict[str, object] = {"a": 1, "b": 1, "c": 1, "d": 1, "same": 1}
    if world.rank == world.size - 1:
        mine = {"a": 2, "b": 2, "d": 2, "e": 2, "same": 1}
    if world.size == 1:
        schema.agree_settings(world, _host(world), mine)
        return
    work = lambda: schema.agree_settings(world, _host(world), mine)  # noqa: E731  # shortest here
    assert _told(world, PlatformError, work) == (
        f"the hosts do not run the same job: a is 1 on algo-1 and 2 on {_last(world)}; "
        f"b is 1 on algo-1 and 2 on {_last(world)}; c is 1 on algo-1 and not given on {_last(world)}"
    )


def test_other_versions_are_named_on_every_rank(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with another release of a library, as another build of the image would have, is told apart."""
    ours = metadata.version("numexpr")
    if world.rank == world.size - 1:
        installed = tmp_path / "numexpr-0.0.1.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: numexpr\nVersion: 0.0.1\n")
        monkeypatch.syspath_prepend(tmp_path)
    if world.size == 1:
        schema.agree_settings(world, _host(world), {})
        return
    assert _told(world, PlatformError, lambda: schema.agree_settings(world, _host(world), {})) == (
        f"the hosts do not run the same job: version of numexpr is {ours} on algo-1 and 0.0.1 on {_last(world)}"
    )
