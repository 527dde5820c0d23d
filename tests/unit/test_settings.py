"""`treering.settings`: what is given and valid counts, and nothing else can stop a supervisor from starting."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.paths import Paths
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

_DEFAULT = Settings()


@pytest.fixture
def paths(open_folder: Path) -> Paths:
    """A tree without hyperparameters."""
    paths = Paths(open_folder)
    paths.config.mkdir(parents=True)
    return paths


def _read(paths: Paths, hyperparameters: object = None, **environ: str) -> Settings:
    if hyperparameters is not None:
        paths.hyperparameters.write_text(json.dumps(hyperparameters))
    return Settings.read(paths, environ)


def test_nothing_given_means_the_defaults(paths: Paths) -> None:
    """Neither a missing file nor unrelated hyperparameters change anything."""
    assert _read(paths) == _DEFAULT
    assert _read(paths, {"eta": "0.1"}, PATH="/bin") == _DEFAULT


def test_the_default_deadline_is_a_quarter_of_an_hour() -> None:
    """What the documentation promises."""
    assert _DEFAULT.rendezvous_timeout == 15 * 60
    assert _DEFAULT.ranks_per_host == 1
    assert _DEFAULT.provider == "tcp"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rendezvous_timeout", "60", 60.0),
        ("rendezvous_timeout", "2.5", 2.5),
        ("heartbeat_interval", '"0.5"', 0.5),
        ("lost_timeout", " 1e2 ", 100.0),
        ("stall_timeout", "1800", 1800.0),
        ("stop_grace", "8", 8.0),
        ("ranks_per_host", "8", 8),
        ("threads_per_host", "'3'", 3),
        ("provider", "efa", "efa"),
        ("provider", '"efa"', "efa"),
        ("port", "9000", 9000),
    ],
)
def test_each_setting_may_be_given_either_way(paths: Paths, name: str, text: str, value: object) -> None:
    """As a hyperparameter or in the environment, quoted as some SDKs do it or not."""
    expected = dataclasses.replace(_DEFAULT, **{name: value})  # type: ignore[arg-type]  # any field
    assert _read(paths, **{f"TREERING_{name.upper()}": text}) == expected
    assert _read(paths, {name: text}) == expected


def test_hyperparameters_may_be_numbers(paths: Paths) -> None:
    """SageMaker writes strings, people who write the file by hand may not."""
    found = _read(paths, {"ranks_per_host": 2, "lost_timeout": 7.5})
    assert found == dataclasses.replace(_DEFAULT, ranks_per_host=2, lost_timeout=7.5)


def test_the_environment_is_stronger(paths: Paths) -> None:
    """Whoever starts the container has the last word, setting by setting."""
    found = _read(paths, {"port": "9000", "ranks_per_host": "2"}, TREERING_PORT="9001")
    assert found == dataclasses.replace(_DEFAULT, port=9001, ranks_per_host=2)


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "nan", "inf", "1e400", "None", "1" * 400, "1" * 9000, "-1e3"]
)
@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(Settings) if field.type != "str"]
)
def test_a_number_that_is_none_keeps_the_default(paths: Paths, name: str, text: str) -> None:
    """The rank reports it; the supervisor has to be up for that."""
    found = [_read(paths, {name: text}), _read(paths, {}, **{f"TREERING_{name.upper()}": text})]
    for each in found:
        assert each == _DEFAULT


@pytest.mark.parametrize(
    "name",
    [
        field.name
        for field in dataclasses.fields(Settings)
        if field.type != "str" and field.name != "stall_timeout"
    ],
)
def test_zero_is_no_time_and_no_number_of_anything(paths: Paths, name: str) -> None:
    """Clocks that never tick and no ranks at all keep their defaults (0 threads are the default: all cores)."""
    assert _read(paths, {name: "0"}) == _read(paths, {name: "0.0"}) == _DEFAULT


@pytest.mark.parametrize("text", ["0", "0.0", "0e5"])
def test_a_stall_timeout_of_zero_is_given(paths: Paths, text: str) -> None:
    """0 means that nothing is ever taken for a stall."""
    assert _read(paths, {"stall_timeout": text}) == dataclasses.replace(_DEFAULT, stall_timeout=0.0)


def test_whole_numbers_have_to_be_whole(paths: Paths) -> None:
    """Half a rank is no number of ranks."""
    assert _read(paths, {"ranks_per_host": "1.5", "port": "7e3"}) == _DEFAULT


def test_ports_end_where_they_end(paths: Paths) -> None:
    """A port that does not exist could not even be tried."""
    assert _read(paths, {"port": "65535"}).port == 65535
    assert _read(paths, {"port": "65536"}) == _DEFAULT


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"port"', b"null", b'{"port": "\xff"}', b"[" * 100_000, b"{\n"]
)
def test_broken_hyperparameters_leave_the_defaults(paths: Paths, content: bytes) -> None:
    """Whatever stands in the file, reading the settings raises nothing."""
    paths.hyperparameters.write_bytes(content)
    assert _read(paths) == _DEFAULT


@pytest.mark.parametrize("value", [None, [], {}, True, [7171], {"port": 1}])
def test_values_of_other_types_leave_the_defaults(paths: Paths, value: object) -> None:
    """JSON has more than numbers and texts."""
    assert _read(paths, {"port": value, "lost_timeout": value}) == _DEFAULT


def test_a_byte_order_mark_does_not_disturb(paths: Paths) -> None:
    """The file is read as the job's configuration is."""
    paths.hyperparameters.write_text('{"port": "9000"}', encoding="utf-8-sig")
    assert _read(paths).port == 9000


def test_a_file_that_may_not_be_read_leaves_the_defaults(
    paths: Paths, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """The supervisor starts, and the rank reports it."""
    with refused(paths.config):
        assert _read(paths) == _DEFAULT


@given(text=st.text())
def test_no_text_in_the_environment_raises(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Any text for every setting gives settings within their domains."""
    environ = {f"TREERING_{field.name.upper()}": text for field in dataclasses.fields(Settings)}
    found = Settings.read(Paths(tmp_path_factory.getbasetemp()), environ)
    assert found.lost_timeout > 0
    assert found.ranks_per_host >= 1
    assert found.provider
