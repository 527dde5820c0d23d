"""Which reader a channel gets: content types in all spellings, else extensions, else AWS's default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from treering.errors import UserError
from treering.readers.csv import CsvReader
from treering.readers.formats import CONTENT_TYPES, reader_for
from treering.readers.libsvm import LibsvmReader
from treering.readers.parquet import ParquetReader
from treering.readers.roles import Roles

if TYPE_CHECKING:
    from unit.readers.conftest import ReadAll, Write


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        *(
            (name, CsvReader)
            for name in ("csv", "text/csv", "TEXT/CSV", "text/csv; label_size=1", " Text/CSV ;")
        ),
        *(
            (name, LibsvmReader)
            for name in ("libsvm", "text/libsvm", "text/x-libsvm", "Text/X-LibSVM;charset=utf-8")
        ),
        *((name, ParquetReader) for name in ("parquet", "application/x-parquet", "Application/X-Parquet")),
    ],
)
def test_a_content_type_is_understood_in_any_case(content_type: str, kind: type) -> None:
    """All types of the AWS image, upper case and parameters included."""
    assert type(reader_for(content_type, ["a.csv", "b.parquet"])) is kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a.csv", "deep/b.CSV"], CsvReader),
        (["a.tsv"], CsvReader),
        (["part-0.parquet", "part-1.parquet"], ParquetReader),
        (["a.pq"], ParquetReader),
        (["a.svm", "b.svm"], LibsvmReader),
        (["a.svmlight"], LibsvmReader),
        (["a.csv", "b.parquet"], LibsvmReader),
        (["a.csv", "part-00001"], LibsvmReader),
        (["abalone.train_0"], LibsvmReader),
        ([], LibsvmReader),
    ],
)
@pytest.mark.parametrize("content_type", [None, "", "  "])
def test_without_a_content_type_extensions_decide(
    content_type: str | None, names: list[str], kind: type
) -> None:
    """Where all files agree; else the data is LIBSVM, as in AWS's image."""
    assert type(reader_for(content_type, names)) is kind


@pytest.mark.parametrize(
    "header", ["header=true", "header=present", "charset=UTF-8; Header=True", 'header="true"']
)
def test_the_content_type_announces_a_header(write: Write, header: str) -> None:
    """The parameter of RFC 4180 and its obvious spelling."""
    reader = reader_for(f"text/csv; {header}", ["train"])
    assert reader.columns(write("y,a,b\n1,2,3\n")).names == ("a", "b")


@pytest.mark.parametrize("header", ["header=false", "header=absent", ""])
def test_a_header_may_be_denied(write: Write, header: str) -> None:
    """Then the first row is a row."""
    assert reader_for(f"text/csv; {header}", ["train"]).columns(write("1,2,3\n")).names is None


def test_options_reach_their_formats(write: Write, read_all: ReadAll, tmp_path: Any) -> None:
    """csv_weights is for CSV; columns by name are for Parquet."""
    batch = read_all(reader_for("csv", ["train"], csv_weights=True), write("1,2,3\n"))
    assert batch.weight is not None
    assert batch.weight.tolist() == [2]
    parquet.write_table(pa.table({"a": [1], "w": [2], "y": [3]}), tmp_path / "made")
    file = write((tmp_path / "made").read_bytes(), "train.parquet")
    batch = read_all(
        reader_for(None, [file.name], csv_weights=True, roles=Roles(label="y", weight="w")), file
    )
    assert (batch.label.tolist(), batch.weight is not None and batch.weight.tolist()) == ([3], [2])


def test_an_unknown_type_lists_the_valid_ones() -> None:
    """The message is one sentence that shows every choice."""
    with pytest.raises(
        UserError, match=r"^content type 'image/png' is unknown; valid are csv, text/csv, "
    ) as caught:
        reader_for("image/png", ["train.csv"])
    assert all(name in str(caught.value) for name in CONTENT_TYPES)


@pytest.mark.parametrize(
    ("content_type", "saying"),
    [
        (
            "text/csv;delimiter=tab",
            "parameter 'delimiter' is unknown; text/csv takes charset, header, label_size",
        ),
        ("text/libsvm;header=true", "parameter 'header' is unknown; text/libsvm takes charset"),
        ("text/csv;label_size=0", "label_size has to be 1"),
        ("text/csv;header=maybe", "header has to be true or false"),
        ("text/csv;charset=utf-16", "only charset=utf-8 can be read"),
        (";header=true", "is unknown; valid are"),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(content_type: str, saying: str) -> None:
    """Nothing that the user asked for is dropped in silence."""
    with pytest.raises(UserError) as caught:
        reader_for(content_type, ["train.csv"])
    assert str(caught.value).startswith(f"content type {content_type!r}")
    assert saying in str(caught.value)
