"""Predictions of files against those of the very numbers that the files were written from."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from pyarrow import parquet

from treering import predict
from treering.cli import main
from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]

CITIES = ("Aachen", "Bonn", "Celle", "Dresden")


def trained(features: Floats, label: Floats, **parameters: object) -> xgb.Booster:
    """A small model by plain XGBoost."""
    return xgb.train({"max_depth": 3, "nthread": 1} | parameters, xgb.DMatrix(features, label), 4)


@pytest.fixture
def numbers(random: np.random.Generator) -> tuple[Floats, Floats]:
    """Features with missing values, and labels."""
    features = random.standard_normal((300, 4)).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    return features, (np.nan_to_num(features).sum(axis=1) > 0).astype(np.float32)


def write_csv(path: Path, *columns: Floats) -> None:
    """Rows as text that gives the same float32 back; an empty cell is missing."""
    rows = np.column_stack(columns)
    lines = (",".join("" if np.isnan(value) else f"{value:.9g}" for value in row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))


def all_of(
    booster: xgb.Booster, data: Path, content_type: str | None = None, **hyperparameters: str
) -> Floats:
    """Every prediction."""
    return np.concatenate([*predict.predict(booster, data, content_type, hyperparameters, 1)])


def test_csv_folder(numbers: tuple[Floats, Floats], tmp_path: Path) -> None:
    """Files are taken in the order of their names, rows in the order of the file; hidden files are none."""
    features, label = numbers
    booster = trained(features, label, objective="binary:logistic")
    (tmp_path / "data" / "b").mkdir(parents=True)
    write_csv(tmp_path / "data" / "a.csv", label[:100], features[:100])
    write_csv(tmp_path / "data" / "b" / "c.csv", label[100:], features[100:])
    (tmp_path / "data" / "_SUCCESS").touch()
    expected = booster.predict(xgb.DMatrix(features))
    np.testing.assert_array_equal(all_of(booster, tmp_path / "data"), expected)


def test_columns_by_name(numbers: tuple[Floats, Floats], tmp_path: Path) -> None:
    """The job's hyperparameters say which columns are none of the features."""
    features, label = numbers
    booster = trained(features, label)
    write_csv(tmp_path / "rows.csv", features[:, :2], label, features[:, 2:], label + 1)
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text("a,b,late,c,d,w\n" + text)
    found = all_of(
        booster, tmp_path / "rows.csv", "text/csv;header=true", label_column="late", weight_column="w"
    )
    np.testing.assert_array_equal(found, booster.predict(xgb.DMatrix(features)))


def test_libsvm_may_be_narrower(random: np.random.Generator, tmp_path: Path) -> None:
    """The last features may be missing in a whole file, but one that training had not is refused."""
    features = random.standard_normal((50, 5)).astype(np.float32)
    features[:, 4] = np.nan
    booster = trained(np.nan_to_num(features, nan=1.0), features[:, 0])
    rows = (
        " ".join(["1", *(f"{place}:{value:.9g}" for place, value in enumerate(row[:4]))]) for row in features
    )
    (tmp_path / "rows.libsvm").write_text("\n".join(rows))
    np.testing.assert_array_equal(
        all_of(booster, tmp_path / "rows.libsvm"), booster.predict(xgb.DMatrix(features))
    )
    (tmp_path / "rows.libsvm").write_text("1 0:1 9:1\n")
    with pytest.raises(UserError, match=r"rows\.libsvm has a feature 9, .* 5 columns"):
        all_of(booster, tmp_path / "rows.libsvm")


def test_several_outputs(random: np.random.Generator, tmp_path: Path) -> None:
    """One line a row, its classes with commas in between, in digits that give the same float32 back."""
    features = random.standard_normal((60, 3)).astype(np.float32)
    label = random.integers(0, 3, 60).astype(np.float32)
    booster = trained(features, label, objective="multi:softprob", num_class=3)
    write_csv(tmp_path / "rows.csv", label, features)
    written = io.StringIO()
    assert predict.write(predict.predict(booster, tmp_path / "rows.csv", None, {}, 1), written) == 60
    read = np.array([line.split(",") for line in written.getvalue().splitlines()], np.float32)
    np.testing.assert_array_equal(read, booster.predict(xgb.DMatrix(features)))


@pytest.fixture
def travels(random: np.random.Generator, tmp_path: Path) -> Callable[[], tuple[xgb.Booster, Path, Floats]]:
    """A model of a text column and a number; data that meets the cities in another order; what to expect."""

    def make() -> tuple[xgb.Booster, Path, Floats]:
        codes = random.integers(0, len(CITIES), 200)
        far = random.standard_normal(200).astype(np.float32)
        features = np.column_stack([codes, far]).astype(np.float32)
        label = np.where(codes % 2, 5, far).astype(np.float32)
        matrix = xgb.DMatrix(
            features,
            label,
            feature_names=["city", "far"],
            feature_types=["c", "float"],
            enable_categorical=True,
        )
        booster = xgb.train({"max_depth": 4, "nthread": 1}, matrix, 5)
        booster.set_attr(categories=json.dumps({0: CITIES}))
        order = np.argsort(-codes, kind="stable")
        table = pa.table(
            {"price": label[order], "city": [CITIES[code] for code in codes[order]], "far": far[order]}
        )
        parquet.write_table(table, tmp_path / "rows.parquet")
        return booster, tmp_path / "rows.parquet", booster.predict(matrix)[order]

    return make


def test_categories(travels: Callable[[], tuple[xgb.Booster, Path, Floats]]) -> None:
    """A city has the code that training gave it, not the one that this file would."""
    booster, data, expected = travels()
    np.testing.assert_array_equal(all_of(booster, data), expected)


def test_unknown_category(
    travels: Callable[[], tuple[xgb.Booster, Path, Floats]], caplog: pytest.LogCaptureFixture
) -> None:
    """A city that training had not counts as missing, and is told with its column and its rows."""
    booster, data, _ = travels()
    table = pa.table({"price": [1.0, 1.0], "city": ["Emden", None], "far": [0.5, 0.5]})
    parquet.write_table(table, data)
    found = all_of(booster, data)
    assert found[0] == found[1]
    assert [record.getMessage() for record in caplog.records] == [
        "1 row(s) have a category of city that training had not; it counts as missing"
    ]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"price": [1.0], "far": [1.0], "city": ["Bonn"]}, "feature 1 is 'far', .* 'city' there"),
        ({"price": [1.0], "city": [1.0], "far": [1.0]}, "column 'city' holds numbers, but held categories"),
        ({"city": ["Bonn"], "far": [1.0]}, "rows.parquet, column 'city' holds categories, but the label"),
        ({"price": [1.0], "city": ["Bonn"]}, "has 1 feature columns, .* on 2; the label is expected too"),
    ],
)
def test_other_columns_than_training(
    travels: Callable[[], tuple[xgb.Booster, Path, Floats]], columns: dict[str, list[object]], sentence: str
) -> None:
    """What would be scored as something else is refused."""
    booster, data, _ = travels()
    parquet.write_table(pa.table(columns), data)
    with pytest.raises(UserError, match=sentence):
        all_of(booster, data)


@pytest.mark.parametrize("form", ["file", "folder", "archive"])
def test_command(
    form: str, numbers: tuple[Floats, Floats], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model may be given as it lies in the container or in S3; the output is a file or standard output."""
    features, label = numbers
    booster = trained(features, label)
    model = tmp_path / "xgboost-model"
    model.write_bytes(booster.save_raw("ubj"))
    if form == "archive":
        with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
            archive.add(model, "xgboost-model")
    given = {"file": model, "folder": tmp_path, "archive": tmp_path / "model.tar.gz"}[form]
    write_csv(tmp_path / "rows.csv", label, features)
    assert main(["predict", str(given), str(tmp_path / "rows.csv")]) == 0
    printed = capsys.readouterr().out
    np.testing.assert_array_equal(
        np.array(printed.split(), np.float32), booster.predict(xgb.DMatrix(features))
    )
    out = tmp_path / "out.csv"
    assert main(["predict", str(given), str(tmp_path / "rows.csv"), "--output", str(out)]) == 0
    assert out.read_text() == printed
    assert capsys.readouterr().out == ""


def test_mistakes(numbers: tuple[Floats, Floats], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence on stderr, exit code 1, and no file that looks like a result."""
    features, label = numbers
    model, rows, out = tmp_path / "xgboost-model", tmp_path / "rows.csv", tmp_path / "out.csv"
    model.write_bytes(trained(features, label).save_raw("ubj"))
    write_csv(rows, label, features)
    with rows.open("a") as file:
        file.write("1,2,three,4,5\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").write_bytes(b"no model")
    (tmp_path / "damaged.tar.gz").write_bytes(b"no archive")
    for given, data, words in [
        (model, rows, "line 301"),
        (model, tmp_path / "nothing", "nothing does not exist"),
        (model, tmp_path / "empty", "has no data files"),
        (tmp_path / "nothing", rows, "nothing cannot be read"),
        (tmp_path / "empty", rows, "xgboost-model cannot be read"),
        (tmp_path / "damaged", rows, "damaged is no model"),
        (tmp_path / "damaged.tar.gz", rows, "damaged.tar.gz cannot be read"),
    ]:
        assert main(["predict", str(given), str(data), "--output", str(out)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("treering: UserError: ")
        assert words in said.err
        assert len(said.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "damaged",
        "damaged.tar.gz",
        "empty",
        "rows.csv",
        "xgboost-model",
    ]


def test_nobody_reads_on(numbers: tuple[Floats, Floats], tmp_path: Path) -> None:
    """``| head`` ends the command without a traceback."""
    features, label = numbers
    (tmp_path / "xgboost-model").write_bytes(trained(features, label).save_raw("ubj"))
    write_csv(tmp_path / "rows.csv", np.tile(label, 50), np.tile(features, (50, 1)))
    command = (sys.executable, "-m", "treering", "predict", str(tmp_path), str(tmp_path / "rows.csv"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
