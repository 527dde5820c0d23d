"""The built-in job from files to model, as a user runs it: `treering local` and its processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from sklearn.datasets import load_svmlight_file

from treering.job import Channel
from treering.local import LocalJob, prepare, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_ABALONE = Path(__file__).parents[2] / "examples" / "abalone"
_ABALONE_JOB = [
    f"--channel=train={_ABALONE / 'train'}",
    f"--channel=validation={_ABALONE / 'validation'}",
    "--content-type=text/libsvm",
    "--hp=objective=reg:squarederror",
    "--hp=num_round=30",
    "--hp=eta=0.2",
    "--hp=max_depth=4",
]
_NOBODY = 65534
_METRIC_LINE = re.compile(r"^\[(\d+)\]\ttrain-rmse:(\d+\.\d{5})\tvalidation-rmse:(\d+\.\d{5})$", re.MULTILINE)


class Local:
    """Runs `treering local` in a folder of the test and looks at what it left."""

    def __init__(self, folder: Path, starter: Sequence[str] = ()) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.starter = starter  # a command that runs the job's, as another user for example

    def start(
        self, *arguments: str, hosts: int = 1, environ: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a job."""
        command = [sys.executable, "-m", "treering", "local", f"--hosts={hosts}", f"--output={self.out}"]
        return subprocess.Popen(
            [*self.starter, *command, "--threads-per-host=1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TREERING_HEARTBEAT_INTERVAL": "0.5", **(environ or {})},
        )

    def run(self, *arguments: str, hosts: int = 1, environ: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a job to its end: exit code and all that it printed."""
        process = self.start(*arguments, hosts=hosts, environ=environ)
        printed, _ = process.communicate(timeout=120)
        return process.returncode, printed

    @property
    def model(self) -> Path:
        """Where the model should be."""
        return self.out / "model" / "xgboost-model"

    def sha256(self) -> str:
        """Of the model's bytes."""
        return hashlib.sha256(self.model.read_bytes()).hexdigest()

    def booster(self) -> xgb.Booster:
        """The model, loaded by plain XGBoost."""
        return xgb.Booster(model_file=bytearray(self.model.read_bytes()))

    def failures(self) -> list[str]:
        """The failure file of every host that has one."""
        return [path.read_text() for path in sorted(self.out.glob("hosts/*/output/failure"))]

    def channel(self, name: str, content: dict[str, str | bytes]) -> str:
        """Write a channel's files; the argument that names them."""
        folder = self.folder / name
        for file, text in content.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)
        return f"--channel={name}={folder}"


@pytest.fixture
def local(tmp_path: Path) -> Local:
    """A place to run jobs in."""
    return Local(tmp_path)


def _csv(rows: NDArray[np.float32]) -> str:
    return "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows)


def _table(rows: int, columns: int = 4) -> NDArray[np.float32]:
    """Random rows with the label in front; the seed is printed."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, columns), dtype=np.float32)
    label = features[:, 0] - 2 * features[:, 1] + rng.standard_normal(rows, dtype=np.float32)
    return np.column_stack([label, features]).astype(np.float32)


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_abalone_trains_and_the_model_is_plain_xgboost(local: Local, hosts: int) -> None:
    """Exit 0, one model that plain XGBoost loads, a metrics line a round, and good predictions."""
    code, printed = local.run(*_ABALONE_JOB, hosts=hosts)
    assert code == 0, printed
    rounds = _METRIC_LINE.findall(printed)
    assert [int(number) for number, _, _ in rounds] == list(range(30))
    assert float(rounds[-1][2]) < 2.4
    assert "Train matrix has 2922 rows and 9 columns\n" in printed
    assert "Validation matrix has 626 rows\n" in printed
    booster = local.booster()
    assert booster.num_boosted_rounds() == 30
    assert json.loads(booster.save_config())["learner"]["objective"]["name"] == "reg:squarederror"
    path = str(_ABALONE / "validation" / "abalone.validation")
    features, label = load_svmlight_file(path, n_features=9, zero_based=True)
    error = booster.predict(xgb.DMatrix(features)) - label
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), float(rounds[-1][2]), atol=1e-4)
    assert not local.failures()
    assert sorted(path.name for path in local.model.parent.iterdir()) == ["xgboost-model"]
    others = [(local.out / "logs" / f"algo-{n + 1}.log").read_text() for n in range(1, hosts)]
    assert not any(_METRIC_LINE.search(text) for text in others)


def test_the_model_does_not_depend_on_hosts_or_threads(local: Local) -> None:
    """The same bytes from one, two and five hosts (some with few rows), and from two threads."""
    digests = set()
    for hosts, threads in ((1, 1), (2, 1), (5, 1), (1, 2)):
        code, printed = local.run(*_ABALONE_JOB, f"--threads-per-host={threads}", hosts=hosts)
        assert code == 0, printed
        digests.add(local.sha256())
    assert len(digests) == 1
    code, printed = local.run(*_ABALONE_JOB, "--hp=max_depth=3")
    assert code == 0, printed
    assert local.sha256() not in digests


def test_sharded_and_replicated_channels_give_the_same_model(local: Local) -> None:
    """Every row counts once, whether hosts share files or each has its own; validation may differ."""
    table = _table(999)
    parts = np.array_split(table, 3)
    train = local.channel("train", {f"deep/er/part-{i}.csv": _csv(part) for i, part in enumerate(parts)})
    validation = local.channel("validation", {"one.csv": _csv(table[:100])})
    job = [train, validation, "--content-type=text/csv", "--hp=num_round=5"]
    digests = set()
    for hosts, distribution in (
        (1, "FullyReplicated"),
        (2, "FullyReplicated"),
        (2, "ShardedByS3Key"),
        (4, "ShardedByS3Key"),
    ):
        code, printed = local.run(*job, f"--distribution=train={distribution}", hosts=hosts)
        assert code == 0, printed
        assert "Train matrix has 999 rows and 4 columns" in printed
        assert "Validation matrix has 100 rows" in printed
        digests.add(local.sha256())
    assert len(digests) == 1


def test_formats_give_the_same_model_and_parquet_names_travel(local: Local) -> None:
    """CSV and Parquet of the same float32 values train the same trees; Parquet's names are in the model."""
    table = _table(500)
    csv = local.channel("train", {"a.csv": _csv(table)})
    code, printed = local.run(csv, "--hp=num_round=4", "--content-type=TEXT/CSV; label_size=1", hosts=2)
    assert code == 0, printed
    from_csv = local.booster().get_dump()
    names = ["target", "alpha", "beta", "gamma", "delta"]
    (local.folder / "train" / "a.csv").unlink()
    columns = {name: table[:, i] for i, name in enumerate(names)}
    pq.write_table(pa.table(columns), local.folder / "train" / "a.parquet", row_group_size=100)
    code, printed = local.run(csv, "--hp=num_round=4", "--content-type=application/x-parquet", hosts=3)
    assert code == 0, printed
    booster = local.booster()
    assert booster.feature_names == names[1:]
    booster.feature_names = None
    assert booster.get_dump() == from_csv


def test_categories_train_like_stock_xgboost_on_any_layout(local: Local) -> None:
    """Text columns of sharded files, sorted by category, give one model: that of the sorted list's codes."""
    table = _table(1200, columns=2)
    rng = np.random.default_rng(int(table[0].view(np.uint32)[0]))
    names = np.array(["ant", "bee", "cat", "dog", "Éclair"])
    codes = np.sort(rng.integers(0, 5, 1200))
    table[:, 0] += np.array([3, -8, 0, 5, -2], np.float32)[codes]
    known = rng.random(1200) > 0.1
    columns = {"y": table[:, 0], "kind": pa.array(names[codes], mask=~known), "x": table[:, 1]}
    (local.folder / "train").mkdir()
    for part in range(3):
        rows = pa.table(columns).slice(400 * part, 400)
        pq.write_table(rows, local.folder / "train" / f"{part}.parquet")
    unseen = pa.table({"y": table[:9, 0], "kind": ["fox"] * 9, "x": table[:9, 1]})
    (local.folder / "validation").mkdir()
    pq.write_table(unseen, local.folder / "validation" / "v.parquet")
    job = [f"--channel={name}={local.folder / name}" for name in ("train", "validation")]
    job += ["--content-type=parquet", "--hp=num_round=8", "--hp=max_cat_to_onehot=2"]
    digests = set()
    for hosts, kind in ((1, "FullyReplicated"), (2, "FullyReplicated"), (4, "ShardedByS3Key")):
        code, printed = local.run(*job, f"--distribution=train={kind}", hosts=hosts)
        assert code == 0, printed
        assert "9 row(s) have a category of 'kind' that training has not" in printed
        digests.add(local.sha256())
    assert len(digests) == 1
    booster = local.booster()
    assert json.loads(str(booster.attr("categories"))) == {"0": sorted(names)}
    features = np.column_stack([np.where(known, codes, np.nan), table[:, 1]]).astype(np.float32)
    matrix = xgb.DMatrix(features, table[:, 0], feature_types=["c", "float"], enable_categorical=True)
    stock = xgb.train(
        {"max_cat_to_onehot": 2, "max_bin": 256},
        xgb.QuantileDMatrix(features, table[:, 0], feature_types=["c", "float"], enable_categorical=True),
        8,
    )
    booster.feature_names = None
    ours, theirs = (
        float(np.sqrt(np.mean((each.predict(matrix) - table[:, 0]) ** 2))) for each in (booster, stock)
    )
    assert ours < 1.05 * theirs


def test_a_channel_that_only_some_hosts_have_leaves_the_others_without_rows(local: Local) -> None:
    """In a heterogeneous cluster a host without the train channel takes part with no rows of its own."""
    table = _table(400)
    train = local.channel("train", {"a.csv": _csv(table[:200]), "b.csv": _csv(table[200:])})
    job = [train, "--content-type=text/csv", "--hp=num_round=4"]
    assert local.run(*job, hosts=1)[0] == 0
    alone = local.sha256()
    # Two files, dealt to three hosts: the last one has none.
    code, printed = local.run(*job, "--distribution=ShardedByS3Key", hosts=3)
    assert code == 0, printed
    assert "algo-3 0" in printed
    assert local.sha256() == alone


def test_a_channel_limited_to_some_instance_groups(local: Local) -> None:
    """A host whose inputdataconfig.json lacks a channel has no files of it; the others split it."""
    table = _table(300)
    content: dict[str, str | bytes] = {"a.csv": _csv(table)}
    train, validation = local.channel("train", content), local.channel("validation", content)
    options = [train, validation, "--content-type=text/csv", "--hp=num_round=4"]
    assert local.run(*options)[0] == 0
    alone = local.sha256()
    channels = {name: (Channel(name, "text/csv"), local.folder / name) for name in ("train", "validation")}
    limited = LocalJob(3, channels, {"num_round": "4"}, local.out, threads_per_host=1)
    prepare(limited)
    for host in ("algo-1", "algo-3"):
        base = local.out / "hosts" / host / "input"
        described = json.loads((base / "config" / "inputdataconfig.json").read_text())
        lacking = "train" if host == "algo-1" else "validation"
        del described[lacking]
        (base / "config" / "inputdataconfig.json").write_text(json.dumps(described))
        (base / "data" / lacking).unlink()
    assert run(limited) == 0
    assert local.sha256() == alone
    log = (local.out / "logs" / "algo-1.log").read_text()
    assert "channel train: 300 rows of 4 features (algo-1 0, algo-2 1" in log


def test_nothing_trains_when_mpi_does_not_work(local: Local) -> None:
    """With a provider that MPI does not have, every host fails and no model appears."""
    code, printed = local.run(*_ABALONE_JOB, hosts=2, environ={"TREERING_PROVIDER": "no-such-provider"})
    assert code == 1
    assert len(local.failures()) == 2
    assert not local.model.exists()
    assert "train-rmse" not in printed


def _no_train(local: Local) -> list[str]:
    return [local.channel("validation", {"a.csv": "1,2\n"}), "--content-type=text/csv"]


def _empty_channel(local: Local) -> list[str]:
    return [local.channel("train", {"_SUCCESS": "", ".crc": "x"}), "--content-type=text/csv"]


def _train_csv(text: str | bytes, *more: str) -> Callable[[Local], list[str]]:
    def job(local: Local) -> list[str]:
        return [local.channel("train", {"sub/bad.csv": text}), "--content-type=text/csv", *more]

    return job


def _different_widths(local: Local) -> list[str]:
    content: dict[str, str | bytes] = {"a.csv": "1,2,3\n" * 50, "b.csv": "1,2,3,4\n" * 50}
    return [local.channel("train", content), "--content-type=text/csv", "--distribution=ShardedByS3Key"]


def _truncated_parquet(local: Local) -> list[str]:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"y": [1.0, 2.0], "x": [1.0, 2.0]}), buffer)
    whole = buffer.getvalue().to_pybytes()
    return [local.channel("train", {"a.parquet": whole[:-10]}), "--content-type=application/x-parquet"]


_GOOD = "1,2,3\n" * 100


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param(_no_train, ["no channel named train", "validation"], id="no train channel"),
        pytest.param(_empty_channel, ["channel train has no data files"], id="empty channel"),
        pytest.param(_train_csv(""), ["channel train", "no rows"], id="only empty files"),
        pytest.param(
            _train_csv(_GOOD, "--content-type=image/png"), ["image/png", "text/csv"], id="content type"
        ),
        pytest.param(_train_csv("y,a,b\n" + _GOOD), ["sub/bad.csv", "header"], id="header"),
        pytest.param(_train_csv(_GOOD + "1,2,oops\n"), ["sub/bad.csv", "101", "column 3", "oops"], id="text"),
        pytest.param(_train_csv(_GOOD + "1,2\n"), ["sub/bad.csv", "101"], id="ragged"),
        pytest.param(_different_widths, ["a.csv", "b.csv", "algo-1", "algo-2"], id="widths differ"),
        pytest.param(_train_csv(_GOOD + ",2,3\n"), ["sub/bad.csv", "101", "label"], id="label missing"),
        pytest.param(_train_csv(_GOOD + "inf,2,3\n"), ["sub/bad.csv", "101", "label"], id="label infinite"),
        pytest.param(_truncated_parquet, ["a.parquet"], id="truncated Parquet"),
        pytest.param(
            _train_csv(_GOOD, "--hp=max_dept=3"), ["max_dept", "max_depth"], id="unknown hyperparameter"
        ),
        pytest.param(_train_csv(_GOOD, "--hp=eta=fast"), ["eta", "fast"], id="unparsable hyperparameter"),
        pytest.param(
            _train_csv("2,2,3\n" * 9, "--hp=objective=binary:logistic"),
            ["binary:logistic", "label"],
            id="label range",
        ),
    ],
)
def test_bad_input_is_one_clear_sentence_on_every_host(
    local: Local, job: Callable[[Local], list[str]], expected: list[str]
) -> None:
    """Exit 1, UserError in the log, and the place and the remedy first in every host's failure file."""
    code, printed = local.run("--hp=num_round=3", *job(local), hosts=2)
    assert code == 1, printed
    failures = local.failures()
    assert len(failures) == 2
    for failure in failures:
        first_line = failure.splitlines()[0]
        assert re.match(r"algo-[12]: UserError: ", first_line), first_line
        for word in expected:
            assert word in first_line
    assert "UserError:" in printed
    assert "Traceback" not in printed
    assert (local.out / "output" / "failure").exists()
    assert list(local.model.parent.iterdir()) == []


def test_malformed_hyperparameters_are_told_by_line(local: Local, tmp_path: Path) -> None:
    """A hyperparameters.json that is no JSON is named, with the place."""
    base = tmp_path / "ml"
    (base / "input" / "config").mkdir(parents=True)
    (base / "input/config/resourceconfig.json").write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
    (base / "input/config/hyperparameters.json").write_text('{"num_round": "3",\n oops}')
    done = subprocess.run(
        [sys.executable, "-m", "treering", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    failure = (base / "output" / "failure").read_text()
    assert failure.startswith("algo-1: UserError: ")
    assert "hyperparameters.json" in failure
    assert "line 2" in failure
    assert local.out.exists() is False


def test_a_dangling_link_is_named(local: Local) -> None:
    """A file that cannot be opened ends the job with its name."""
    train = local.channel("train", {"good.csv": _GOOD})
    (local.folder / "train" / "gone.csv").symlink_to(local.folder / "nowhere.csv")
    code, printed = local.run(train, "--content-type=text/csv", "--hp=num_round=1", hosts=2)
    assert code == 1
    assert "gone.csv" in printed
    assert "Traceback" not in printed


def _big_job(local: Local) -> list[str]:
    """A job that runs until it is stopped."""
    train = local.channel("train", {"a.csv": _csv(_table(20_000))})
    return [train, "--content-type=text/csv", "--hp=num_round=1000000"]


def _processes_of(local: Local) -> Iterator[psutil.Process]:
    """Every process of the job: each carries its host's tree in its environment."""
    for process in psutil.process_iter():
        try:
            base = process.environ().get("SAGEMAKER_BASE_DIR", "")
            if base.startswith(str(local.out)) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the job ended without {text!r}")


def _close(process: subprocess.Popen[str]) -> int:
    """Read what is left, wait, and give the exit code."""
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_process_behind(local: Local, number: signal.Signals) -> None:
    """Stopping `treering local` ends every supervisor and rank, non-zero, without a model."""
    process = local.start(*_big_job(local), hosts=2)
    _read_until(process, "[2]\t")
    assert len(list(_processes_of(local))) == 4
    process.send_signal(number)
    assert _close(process) != 0
    assert list(_processes_of(local)) == []
    assert not local.model.exists()


@pytest.mark.parametrize("frozen", ["algo-1", "algo-2"])
def test_a_frozen_host_ends_the_job_and_is_killed(local: Local, frozen: str) -> None:
    """A host that is stopped with all its processes is lost; none of them survives the job."""
    process = local.start(*_big_job(local), hosts=2, environ={"TREERING_LOST_TIMEOUT": "2"})
    _read_until(process, "[2]\t")
    for each in _processes_of(local):
        if each.environ()["SAGEMAKER_BASE_DIR"].endswith(frozen):
            each.suspend()
    assert _close(process) == 1
    assert list(_processes_of(local)) == []
    other = "algo-2" if frozen == "algo-1" else "algo-1"
    failure = (local.out / "hosts" / other / "output" / "failure").read_text()
    assert frozen in failure.splitlines()[0]


def test_a_killed_parent_takes_all_along(local: Local) -> None:
    """SIGKILL of `treering local` itself leaves nothing running."""
    process = local.start(*_big_job(local), hosts=2)
    _read_until(process, "[2]\t")
    process.kill()
    _close(process)
    deadline = time.monotonic() + 30
    while list(_processes_of(local)):
        assert time.monotonic() < deadline, "processes live on"
        time.sleep(0.05)


def _as_nobody() -> tuple[str, ...]:
    """What runs a command as a user who may write nowhere, and does not become root by any program."""
    look = "+dac_read_search"  # into all folders: Python may lie in root's home
    for rights in ("-all", f"-all,{look}"):
        sets = (f"--{which}={rights}" for which in ("bounding-set", "inh-caps", "ambient-caps"))
        user = (f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs")
        starter = ("setpriv", *user, *sets)
        reads = (sys.executable, "-c", "import os, sys, treering; os.listdir(sys.argv[1])", str(_ABALONE))
        if subprocess.run([*starter, *reads], check=False, capture_output=True).returncode == 0:
            return starter
    pytest.skip("no other user can run this Python")


@pytest.fixture
def other(open_folder: Path) -> Local:
    """A place where another user than root runs jobs: whoever runs the tests, or else nobody."""
    if os.geteuid():
        return Local(open_folder)
    other = Local(open_folder, _as_nobody())
    other.out.mkdir()
    os.chown(other.out, _NOBODY, _NOBODY)
    return other


def test_no_root_is_needed(other: Local) -> None:
    """A user to whom nothing belongs but the output folder gets a model of two hosts."""
    code, printed = other.run(*_ABALONE_JOB, hosts=2)
    assert code == 0, printed
    assert other.model.stat().st_uid == (os.geteuid() or _NOBODY)
    assert other.booster().num_boosted_rounds() == 30
    assert not other.failures()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user at hand")
def test_two_users_train_on_one_machine(local: Local, other: Local) -> None:
    """The job of one user leaves nothing in the way of the other's, not even while it runs."""
    process = local.start(*_big_job(local), hosts=2)
    _read_until(process, "[2]\t")
    code, printed = other.run(*_ABALONE_JOB, hosts=2)
    process.terminate()
    assert code == 0, printed
    assert _close(process) == 1
    assert other.model.exists()


def test_a_second_run_replaces_the_results_of_the_first(local: Local) -> None:
    """A failed run after a good one leaves no model of the good one, and a good one no failure."""
    assert local.run(*_ABALONE_JOB)[0] == 0
    assert local.run(*_ABALONE_JOB, "--hp=eta=9")[0] == 1
    assert not local.model.exists()
    assert local.run(*_ABALONE_JOB)[0] == 0
    assert not (local.out / "output" / "failure").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["objective=reg:absoluteerror"], "rank(s) 2 (algo-3) have no training rows"),
        (["objective=survival:cox"], "needs all rows in one process"),
    ],
)
def test_what_xgboost_cannot_do_on_several_hosts_is_refused(
    local: Local, options: list[str], told: str
) -> None:
    """In one sentence, as the user's mistake, instead of XGBoost's failed check."""
    table = np.abs(_table(60))
    content: dict[str, str | bytes] = {"a.csv": _csv(table[:30]), "b.csv": _csv(table[30:])}
    job = [local.channel("train", content), "--content-type=csv", "--distribution=ShardedByS3Key"]
    code, printed = local.run(*job, "--hp=num_round=3", *(f"--hp={option}" for option in options), hosts=3)
    assert code == 1
    assert told in printed
    assert "UserError" in printed
    assert "Traceback" not in printed
    assert local.run(*job, "--hp=num_round=3", *(f"--hp={option}" for option in options))[0] == 0


def test_a_host_without_rows_does_not_disturb_metrics(local: Local) -> None:
    """Areas under curves, errors and the round at which the job stops are those of one host with all rows."""
    table = _table(300)
    table[:, 0] = table[:, 0] > 0
    content: dict[str, str | bytes] = {"a.csv": _csv(table)}
    job = [local.channel("train", content), local.channel("validation", content), "--content-type=csv"]
    job += ["--distribution=ShardedByS3Key", "--hp=num_round=6", "--hp=objective=binary:logistic"]
    job += ["--hp=eval_metric=auc,error,aucpr", "--hp=early_stopping_rounds=2"]
    lines = []
    for hosts in (1, 3):
        code, printed = local.run(*job, hosts=hosts)
        assert code == 0, printed
        lines.append(re.findall(r"^\[\d+\]\t.*$", printed, re.MULTILINE))
    assert lines[0] == lines[1]
    assert len(lines[0]) >= 3


def test_hosts_with_other_hyperparameters_do_not_train(local: Local) -> None:
    """A parameter that differs on one host ends the job before the first round, with both values."""
    local.channel("train", {"a.csv": _csv(_table(100))})
    different = LocalJob(
        2,
        {"train": (Channel("train", "text/csv"), local.folder / "train")},
        {"num_round": "4", "max_depth": "3"},
        local.out,
        threads_per_host=1,
    )
    prepare(different)
    given = local.out / "hosts/algo-2/input/config/hyperparameters.json"
    given.write_text(json.dumps({"num_round": "4", "max_depth": "5"}))
    assert run(different) == 1
    assert len(local.failures()) == 2
    for failure in local.failures():
        assert "max_depth is 3 on algo-1 and 5 on algo-2" in failure.splitlines()[0]
    assert not local.model.exists()
    assert "train-rmse" not in (local.out / "logs/algo-1.log").read_text()


def test_weights_count_and_do_not_depend_on_the_layout(local: Local) -> None:
    """With csv_weights=1 column 1 weighs the rows: one model on any number of hosts, and not the unweighted one."""
    table = _table(300)
    weights = np.random.default_rng(int(table[0, 0].view(np.uint32))).uniform(0, 5, 300).astype(np.float32)
    weights[::7] = 0
    weighted = np.column_stack([table[:, :1], weights, table[:, 1:]])
    options = ["--content-type=csv", "--hp=num_round=5", "--hp=csv_weights=1"]
    train = local.channel("train", {"a.csv": _csv(weighted[:200]), "b.csv": _csv(weighted[200:])})
    digests = set()
    for hosts in (1, 2, 3):
        code, printed = local.run(train, *options, "--distribution=ShardedByS3Key", hosts=hosts)
        assert code == 0, printed
        assert "300 rows and 4 columns" in printed
        digests.add(local.sha256())
    assert len(digests) == 1
    weighted[:, 1] = 1
    plain = local.channel("train", {"a.csv": _csv(weighted[:200]), "b.csv": _csv(weighted[200:])})
    assert local.run(plain, *options)[0] == 0
    assert local.sha256() not in digests


def test_one_class_only_is_no_obstacle(local: Local) -> None:
    """Labels that are all 1 train a model that predicts 1, on one host and on two alike."""
    table = _table(200)
    table[:, 0] = 1
    job = [local.channel("train", {"a.csv": _csv(table)}), "--content-type=csv", "--hp=num_round=3"]
    digests = set()
    for hosts in (1, 2):
        code, printed = local.run(*job, "--hp=objective=binary:logistic", hosts=hosts)
        assert code == 0, printed
        digests.add(local.sha256())
    assert len(digests) == 1
    assert local.booster().predict(xgb.DMatrix(table[:, 1:])).min() > 0.99


def test_plan_shows_who_reads_what_and_starts_nothing(local: Local) -> None:
    """The spans of all ranks tile every file; text and JSON say the same."""
    train = local.channel("train", {"a.csv": _csv(_table(300)), "b.csv": _csv(_table(50))})
    code, printed = local.run(train, "--content-type=text/csv", "--hp=num_round=1", hosts=3)
    assert code == 0, printed
    command = [sys.executable, "-m", "treering", "plan"]
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(local.out / "hosts" / "algo-2")}
    text = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    for word in (
        "algo-2 (this one)",
        "rank 2",
        "channel train",
        "a.csv[",
        "rounds",
    ):
        assert word in text
    planned = json.loads(
        subprocess.run([*command, "--json"], env=environ, capture_output=True, check=True).stdout
    )
    assert planned["hosts"] == ["algo-1", "algo-2", "algo-3"]
    (channel,) = planned["channels"]
    assert channel["unit"] == "bytes"
    for name in ("a.csv", "b.csv"):
        spans = [span for spans in channel["spans"].values() for span in spans if span["file"] == name]
        assert [span["start"] for span in spans] == [0, *(span["stop"] for span in spans[:-1])]
        assert spans[-1]["stop"] == (local.folder / "train" / name).stat().st_size


def test_early_stopping_keeps_the_best_round(local: Local) -> None:
    """Rounds after the best one are not in the model."""
    table = _table(300)
    train = local.channel("train", {"a.csv": _csv(table)})
    shuffled = table.copy()
    shuffled[:, 0] = shuffled[::-1, 0]
    validation = local.channel("validation", {"a.csv": _csv(shuffled)})
    job = [train, validation, "--content-type=text/csv", "--hp=num_round=200", "--hp=early_stopping_rounds=3"]
    code, printed = local.run(*job, hosts=2)
    assert code == 0, printed
    scores = [float(value) for _, _, value in _METRIC_LINE.findall(printed)]
    best = int(np.argmin(scores))
    assert len(scores) == best + 1 + 3
    assert local.booster().num_boosted_rounds() == best + 1
