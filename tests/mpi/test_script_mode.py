"""`treering.script`: a user's own program on every rank, from `treering local` to what it leaves behind."""

from __future__ import annotations

import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import local_jobs
import numpy as np
import pytest
from local_jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local_jobs import Ended

_EXAMPLE = Path(__file__).parents[2] / "examples" / "script-mode"
_MEET = "import treering\nworld = treering.world()\nworld.barrier()\n"
_TRAIN = (
    "import treering\nrows = treering.load('train')\n"
    "model = treering.train({'objective': 'reg:squarederror', 'max_depth': 3, ****}, rows, ROUNDS)\n"
    "treering.save(model)\n"
)
_SMALL = "toolz==1.0.0"  # of nothing but Python, requires nothing, and nothing here requires it
_SMALL_HASH = "292c8f1c4e7516bf9086f8850935c799a874039c8bcf959d47b600e4c44a6236"


def _table(rows: int) -> str:
    """CSV with the label in front; the seed is printed."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, 4)).round(4)
    label = (features[:, 0] - 2 * features[:, 1] + rng.standard_normal(rows)).round(4)
    return "".join(",".join(map(str, row)) + "\n" for row in np.column_stack([label, features]))


class Scripts:
    """Runs scripts as jobs of several hosts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "code"
        self.code.mkdir()
        self.channels: dict[str, local_jobs.Files] = {}

    def write(self, text: str, name: str = "train.py") -> None:
        """Add a file to the code."""
        (self.code / name).write_text(text)

    def job(self, hyperparameters: Mapping[str, str], program: str | None = "train.py") -> Job:
        """What SDK v2 hands over; the two texts come in quotes."""
        own = {"sagemaker_submit_directory": json.dumps(str(self.code)), "sagemaker_region": '"eu-central-1"'}
        if program is not None:
            own["sagemaker_program"] = json.dumps(program)
        return Job(self.channels, own | dict(hyperparameters))

    def run(
        self, text: str = "", /, hosts: int = 2, program: str | None = "train.py", **hyperparameters: str
    ) -> Ended:
        """Run `text`, if there is any, as ``train.py`` to its end."""
        if text:
            self.write(text)
        return local_jobs.run(self.job(hyperparameters, program), self.folder, hosts)

    def told(self, name: str, host: str) -> str:
        """What the script on a host wrote to a file in ``SM_OUTPUT_DATA_DIR``."""
        return (self.folder / "out" / "output" / "data" / f"{name}-{host}").read_text()


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """Scripts in a folder of the test's own; nothing of a script is set outside."""
    for name in ("SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    return Scripts(tmp_path)


def _check_failed(ended: Ended, headline: str, hosts: int = 2) -> None:
    """All hosts ended with the same sentence, which begins so."""
    assert ended.code == 1, ended.log
    assert len(ended.failures) == hosts
    assert len(set(ended.failures)) == 1, ended.failures
    assert ended.failures[0].startswith(headline), ended.failures[0]


# --- what a script is told, and what it may do ---


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_the_example_trains_the_model_of_the_built_in_job(scripts: Scripts, hosts: int) -> None:
    """Byte for byte, on any number of hosts, with the same metric lines."""
    scripts.channels = {
        "training": {"a.csv": _table(100), "b.csv": _table(30)},
        "validation": {"c": _table(40)},
    }
    scripts.code = _EXAMPLE
    ended = scripts.run(hosts=hosts, max_depth="5", eta="0.2", num_round="7")
    assert ended.code == 0, ended.log
    assert "warning" not in ended.log.lower()
    assert " of 40 abalones are off by less than 1.5 rings" in ended.log
    own = {
        "objective": "reg:squarederror",
        "max_depth": "5",
        "eta": "0.2",
        "num_round": "7",
        "eval_metric": "rmse,mae",
    }
    built_in = local_jobs.run(Job(scripts.channels, own), scripts.folder / "built-in")
    assert built_in.code == 0, built_in.log
    assert ended.rounds == built_in.rounds
    assert ended.model.read_bytes() == built_in.model.read_bytes()


_TELL = """\
import json, os, sys, pathlib
told = {name: value for name, value in os.environ.items() if name.startswith(("SM_", "PMI_", "TREERING_STATUS"))}
told |= {"arguments": sys.argv, "folder": os.getcwd(), "name": __name__, "path": sys.path[0], "file": __file__}
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "told-" + os.environ["SM_CURRENT_HOST"]).write_text(json.dumps(told))
"""


def test_every_host_is_told_what_sagemaker_tells(scripts: Scripts) -> None:
    """Variables by their known names, right on each host; arguments sorted, with the values' types."""
    scripts.channels = {"training": {"a.csv": "1,2\n"}, "my-data": {"b.csv": "1,2\n"}}
    given = {"epochs": "5", "learning-rate": "0.1", "text": '"a b"', "flag": "true", "b": "3", "none": "null"}
    given |= {"layers": "[1, 2]", "map": '{"y": 2, "x": "1"}', "stall_timeout": "70", "word": "plain"}
    scripts.write(_TELL)
    ended = local_jobs.run(scripts.job(given), scripts.folder, 2)
    assert ended.code == 0, ended.log
    for rank, host in enumerate(("algo-1", "algo-2")):
        told = json.loads(scripts.told("told", host))
        base = scripts.folder / "out" / "hosts" / host
        assert told["SM_CURRENT_HOST"] == host
        assert told["SM_CURRENT_HOST_RANK"] == str(rank)
        assert json.loads(told["SM_HOSTS"]) == ["algo-1", "algo-2"]
        assert json.loads(told["SM_CHANNELS"]) == ["my-data", "training"]
        assert told["SM_CHANNEL_TRAINING"] == str(base / "input/data/training")
        assert told["SM_CHANNEL_MY_DATA"] == told["SM_CHANNEL_MY-DATA"] == str(base / "input/data/my-data")
        assert told["SM_HP_LEARNING_RATE"] == told["SM_HP_LEARNING-RATE"] == "0.1"
        assert told["SM_HP_TEXT"] == "a b"
        hyperparameters = json.loads(told["SM_HPS"])
        assert hyperparameters["layers"] == [1, 2]
        assert hyperparameters["flag"] is True
        assert hyperparameters["epochs"] == 5
        assert "stall_timeout" not in hyperparameters
        assert not [name for name in hyperparameters if name.startswith("sagemaker_")]
        assert json.loads(told["SM_RESOURCE_CONFIG"])["current_host"] == host
        assert json.loads(told["SM_TRAINING_ENV"])["hyperparameters"] == hyperparameters
        assert (told["SM_MODEL_DIR"] == str(base / "model")) == (rank == 0)
        assert told["SM_USER_ENTRY_POINT"] == "train.py"
        assert told["folder"] == told["path"] == told["SM_MODULE_DIR"] == str(scripts.code)
        assert (told["name"], told["file"]) == ("__main__", str(scripts.code / "train.py"))
        arguments = [
            "-b",
            "3",
            "--epochs",
            "5",
            "--flag",
            "True",
            "--layers",
            "[1, 2]",
            "--learning-rate",
            "0.1",
        ]
        arguments += ["--map", "x=1,y=2", "--none", "", "--text", "a b", "--word", "plain"]
        assert told["arguments"][1:] == arguments == json.loads(told["SM_USER_ARGS"])
        assert not [name for name in told if name.startswith(("PMI_", "TREERING_"))], "a child is no rank"


def test_mpi4py_by_itself_works(scripts: Scripts) -> None:
    """The world is up before the first line; a script may shut it down itself, or leave that to us."""
    text = (
        "import os\nfrom mpi4py import MPI\ncomm = MPI.COMM_WORLD\n"
        "assert comm.allreduce(comm.Get_rank()) == 3, comm.Get_size()\n"
        "parts = comm.gather(os.environ['SM_CURRENT_HOST'])\nif parts: print('met:', *parts)\n"
    )
    for ending in ("", "MPI.Finalize()\n"):
        ended = scripts.run(text + ending, hosts=3)
        assert ended.code == 0, ended.log
        assert "met: algo-1 algo-2 algo-3" in ended.log


def test_messages_of_the_script_stay_apart_from_ours(scripts: Scripts) -> None:
    """One that was sent before a call of ours is received after it."""
    text = (
        "import numpy as np, treering\nfrom mpi4py import MPI\ncomm = MPI.COMM_WORLD\n"
        "wanted = np.empty(1)\nask = comm.Irecv(wanted, 1 - comm.rank)\n"
        "assert treering.allreduce(1) == 2\ncomm.Send(np.array([comm.rank + 5.0]), 1 - comm.rank)\nask.Wait()\n"
        "assert wanted[0] == 6 - comm.rank\n"
    )
    ended = scripts.run(text)
    assert ended.code == 0, ended.log


_SCIKIT_LEARN = """\
import logging, os, pickle
import numpy as np
from sklearn.linear_model import Ridge
logging.basicConfig(level=logging.DEBUG, format="mine %(message)s")
logging.debug("fitting")
rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "a.csv"), delimiter=",")
model = Ridge().fit(rows[:, 1:], rows[:, 0])
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pickle"), "wb") as file:
    pickle.dump((os.environ["SM_CURRENT_HOST"], model), file)
"""


def test_a_plain_script_runs_on_every_host_and_the_first_ones_model_counts(scripts: Scripts) -> None:
    """Local mode shows one model folder to all: nobody else writes there, and whoever tried is told, once."""
    scripts.channels = {"train": {"a.csv": _table(40)}}
    ended = scripts.run(_SCIKIT_LEARN, hosts=3)
    assert ended.code == 0, ended.log
    assert (ended.out / "model" / "model.pickle").read_bytes().find(b"algo-1") > 0
    for rank in (1, 2):
        told = f"rank {rank} on algo-{rank + 1} wrote model.pickle as well: only what rank 0 writes is kept"
        assert ended.log.count(told) == 1
    assert "mine fitting" in ended.log, "the log of a script is its own"


def test_a_script_without_a_model_is_told_once(scripts: Scripts) -> None:
    """It may be what the user wants, so the job ends well."""
    ended = scripts.run("print('nothing to keep')", hosts=2)
    assert ended.code == 0, ended.log
    assert ended.log.count("the script ended without a model: ") == 1
    assert "without a model" not in ended.log_of("algo-2")


def test_a_shell_script_without_a_model_is_told(scripts: Scripts) -> None:
    """As of any other script."""
    scripts.write("echo nothing to keep\n", "train.sh")
    ended = scripts.run(program="train.sh")
    assert ended.code == 0, ended.log
    assert ended.log.count("the script ended without a model: ") == 1
    assert "without a model" not in ended.log_of("algo-2")
    assert ended.log.endswith("\nmodel: none\n")


def test_what_the_first_host_still_writes_is_not_held_against_others(scripts: Scripts) -> None:
    """In local mode a host that is through sees the model folder of one that is not: no reason for a warning."""
    text = (
        "import atexit, os, pathlib, time\nfrom mpi4py import MPI\ncomm = MPI.COMM_WORLD\n"
        "if comm.rank == 0:\n"
        "    folder = pathlib.Path(os.environ['SM_MODEL_DIR'])\n"
        "    (folder / 'first').write_text('x')\n"
        "    comm.send(None, 1)\n    comm.recv(source=1)\n"
        "    time.sleep(0.5)  # for a host that looks too early\n"
        "    (folder / 'second').write_text('x')\n"
        "else:\n"
        "    comm.recv(source=0)\n    atexit.register(comm.send, None, 0)\n"
    )
    ended = scripts.run(text)
    assert ended.code == 0, ended.log
    assert "SageMaker puts" not in ended.log
    assert ended.log.endswith("/model, without a file called xgboost-model\n")


def test_threads_and_exit_handlers_come_to_their_end(scripts: Scripts) -> None:
    """As after any Python program, although a rank leaves hard; `sys.exit(0)` is a good end."""
    text = (
        "import atexit, sys, threading\natexit.register(print, 'handler ran', flush=True)\n"
        "go = threading.Event()\n"
        "threading.Thread(target=lambda: (go.wait(), print('thread ran', flush=True))).start()\n"
        "threading.Timer(0.2, go.set).start()\nsys.exit(0)\n"
    )
    ended = scripts.run(text)
    assert ended.code == 0, ended.log
    assert ended.log.index("thread ran") < ended.log.index("handler ran")


def test_processes_of_a_script_are_no_ranks(scripts: Scripts) -> None:
    """A pool that imports the script anew works, also when the script imports treering and mpi4py."""
    text = (
        "import multiprocessing\nimport treering\nfrom mpi4py import MPI\n"
        "def double(value):\n    return 2 * value\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        assert pool.map(double, [1, 2]) == [2, 4]\n"
        "    assert treering.world().size == 2\n"
    )
    ended = scripts.run(text)
    assert ended.code == 0, ended.log


def test_a_script_that_is_started_by_hand_is_alone(tmp_path: Path) -> None:
    """A world of one rank, without a supervisor; only rows need a job, and that is said."""
    text = (
        "import treering\nprint(treering.world().size, treering.allreduce([3, 4]))\ntreering.load('train')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout == "1 [3 4]\n"
    assert "UserError: there is no job here, and so no channel (" in done.stderr.splitlines()[-1]


# --- how it is named ---


def test_an_image_may_name_its_script(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """By two variables; a job's own hyperparameters count before them."""
    scripts.write("print('from the image')", "image.py")
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "image.py")
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", "/nowhere")
    ended = scripts.run(program=None)
    assert ended.code == 0, ended.log
    assert "from the image" in ended.log
    ended = scripts.run("print('from the job')")
    assert "from the job" in ended.log
    assert "from the image" not in ended.log


def _archive(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_code_in_an_archive_is_unpacked(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SDK v2 hands it to a job without a network; two ranks of a host share it, and nothing stays behind."""
    temporary = scripts.folder / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("TREERING_RANKS_PER_HOST", "2")
    files = {
        "src/train.py": "import near\nprint(near.__file__)\n" + _MEET,
        "src/near.py": "",
        "data.txt": "x",
    }
    scripts.code = scripts.folder / "code" / "sourcedir.tar.gz"
    scripts.code.write_bytes(_archive(files))
    ended = scripts.run(program="src/train.py")
    assert ended.code == 0, ended.log
    assert ended.log.count("/code/src/near.py") == 2
    assert list(temporary.iterdir()) == []


class _Bucket(http.server.BaseHTTPRequestHandler):
    """An S3 of one object: what the job's own client asks for, and how it signs."""

    content = b""

    def _answer(self) -> None:
        known = (
            self.path == "/bucket/job/source/sourcedir.tar.gz"
            and "AWS4-HMAC" in self.headers["Authorization"]
        )
        first, _, last = (self.headers.get("Range") or "").removeprefix("bytes=").partition("-")
        part = self.content[int(first or 0) : int(last) + 1 if last else None]
        self.send_response((206 if first else 200) if known else 404)
        self.send_header("Content-Length", str(len(part) if known else 0))
        if known:
            self.send_header(
                "Content-Range", f"bytes {first or 0}-{int(first or 0) + len(part) - 1}/{len(self.content)}"
            )
        self.end_headers()
        if known and self.command == "GET":
            self.wfile.write(part)

    do_GET = do_HEAD = _answer  # noqa: N815  # names that the server looks for

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Serve an object as ``s3://bucket/job/source/sourcedir.tar.gz``."""
    handler = type("Bucket", (_Bucket,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")  # pragma: allowlist secret
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        yield lambda content: setattr(handler, "content", content)
        server.shutdown()


def test_code_in_s3_is_fetched(scripts: Scripts, bucket: Callable[[bytes], None]) -> None:
    """As SDK v2 hands it over in a real job, with the credentials that the job has."""
    bucket(_archive({"train.py": _MEET + "print('fetched')"}))
    where = '"s3://bucket/job/source/sourcedir.tar.gz"'
    ended = scripts.run(sagemaker_submit_directory=where)
    assert ended.code == 0, ended.log
    assert "fetched" in ended.log
    ended = scripts.run(sagemaker_submit_directory='"s3://bucket/other.tar.gz"')
    _check_failed(ended, "algo-")
    assert ": UserError: the code in s3://bucket/other.tar.gz cannot be fetched (" in ended.failures[0]


def _of_v3(source_code: Mapping[str, object]) -> dict[str, str | bytes]:
    """The drivers' channel of SDK v3, which says what to run."""
    return {
        "sourcecode.json": json.dumps({"source_dir": "/home/me/code", **source_code}),
        "sm_train.sh": "exit 9",
    }


@pytest.mark.parametrize("program", ["script", "shell", "command"])
def test_a_script_of_sdk_v3_runs_in_the_ring(scripts: Scripts, program: str) -> None:
    """Python, shell, or a command; arguments are JSON, in the order given."""
    python = _MEET + "import sys\nprint('args', sys.argv[1:], world.size)\n"
    shell = (
        'echo "args $*" "$SM_CURRENT_HOST"; python -c "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"\n'
    )
    source: dict[str, object] = {
        "script": {"entry_script": "train.py"},
        "shell": {"entry_script": "train.sh"},
        "command": {"command": "python train.py --mine", "args": ["two words", 3]},
    }[program]  # type: ignore[assignment]  # the values differ in nothing that matters
    code: dict[str, str | bytes] = {"train.py": python, "train.sh": shell}
    scripts.channels = {"sm_drivers": _of_v3(source), "code": code}
    job = Job(scripts.channels, {"eta": "0.2", "deep": "true", "what": '{"a": 1}'})
    ended = local_jobs.run(job, scripts.folder, 2)
    assert ended.code == 0, ended.log
    told = {
        "script": "args ['--eta', '0.2', '--deep', 'true', '--what', '{\"a\": 1}'] 2",
        "shell": 'args --eta 0.2 --deep true --what {"a": 1} algo-1\n2\n',
        "command": "args ['--mine', 'two words', '3'] 2",
    }[program]
    assert told in ended.log


# --- what goes wrong ---


def test_an_exception_names_its_file_and_line_and_host(scripts: Scripts) -> None:
    """The innermost line that is the user's, on whichever host, first; the traceback is the user's alone."""
    scripts.write("import json\n\ndef read():\n    return json.loads('{')\n", "near.py")
    ended = scripts.run(_MEET + "import near\nif world.rank == 1:\n    near.read()\nworld.barrier()\n")
    _check_failed(ended, "algo-2: near.py, line 4: json.decoder.JSONDecodeError: Expecting property name")
    file = (ended.out / "hosts" / "algo-1" / "output" / "failure").read_text()
    assert "runner.py" not in file
    assert 'train.py", line 6' in file


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("sys.exit(3)", "train.py, line 6: the script ended with exit code 3"),
        ("sys.exit('no rows')", "train.py, line 6: no rows"),
        ("raise KeyError", "train.py, line 6: KeyError"),
        ("raise ValueError('a\\nb')", "train.py, line 6: ValueError: a"),
        (
            "import nowhere",
            "train.py, line 6: ModuleNotFoundError: No module named 'nowhere'; list it in requirements",
        ),
        ("treering.save(1)", "UserError: train.py, line 6: treering.save takes a model of XGBoost's"),
        ("exec('x = (')", "train.py, line 6: SyntaxError: '(' was never closed"),
        (
            "MPI.COMM_WORLD.Send(b'', 99)",
            "train.py, line 6: MPI lost contact with another rank, or was misused (",
        ),
        ("os._exit(0)", "rank 1 (pid "),
        ("os.kill(os.getpid(), 9)", "rank 1 (pid "),
    ],
)
def test_one_rank_that_fails_ends_the_job(scripts: Scripts, line: str, told: str) -> None:
    """Whatever way, although the others end well; the host and the line are first."""
    text = f"{_MEET}import os, sys\nfrom mpi4py import MPI\nif world.rank == 1: {line}\n"
    ended = scripts.run(text, lost_timeout="3")
    _check_failed(ended, f"algo-2: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\nx = (\n", "train.py, line 2: '(' was never closed"),
        ("a\0b", "train.py is no Python script: "),
        ("\xff".encode("latin1"), "train.py, line 1: (unicode error)"),
    ],
)
def test_a_script_that_cannot_be_parsed_is_told(scripts: Scripts, text: str | bytes, told: str) -> None:
    """Before the ring is formed, as the user's mistake."""
    (scripts.code / "train.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    ended = scripts.run()
    assert ended.code == 1
    assert f": UserError: {told}" in ended.failures[0]
    assert "the ring is formed" not in ended.log


def test_an_imported_file_that_cannot_be_parsed_is_told(scripts: Scripts) -> None:
    """With its own name and line."""
    scripts.write("def f(:\n    pass\n", "near.py")
    ended = scripts.run("import near\n")
    assert _headline(ended) == "UserError: near.py, line 1: invalid syntax"


def _headline(ended: Ended) -> str:
    """The sentence without its host."""
    return ended.failures[0].partition(": ")[2]


@pytest.mark.parametrize(
    ("program", "where", "told"),
    [
        ("other.py", None, "there is no other.py in "),
        ("train.py", "/nowhere", "the code of train.py is not there: /nowhere does not exist"),
        ("train.R", None, "train.R is neither a .py nor a .sh file"),
        ("train.py", "BROKEN", "is no archive that can be unpacked"),
    ],
)
def test_a_script_that_is_not_there_is_told(
    scripts: Scripts, program: str, where: str | None, told: str
) -> None:
    """In one sentence, with what is there."""
    scripts.write("", "train.py")
    scripts.write("", "train.R")
    (scripts.folder / "BROKEN").write_bytes(b"no archive")
    given = {} if where is None else {"sagemaker_submit_directory": str(scripts.folder / where)}
    ended = local_jobs.run(scripts.job(given, program), scripts.folder, 2)
    assert ended.code == 1
    assert _headline(ended).startswith("UserError: "), ended.failures
    assert told in ended.failures[0]


def test_a_shell_script_that_fails_is_told(scripts: Scripts) -> None:
    """With its exit code, by name and host."""
    scripts.write('if [ "$SM_CURRENT_HOST" = algo-2 ]; then exit 5; fi; sleep 100\n', "train.sh")
    _check_failed(scripts.run(program="train.sh"), "algo-2: train.sh ended with exit code 5")


def test_a_rank_that_hangs_is_named(scripts: Scripts) -> None:
    """The others wait for it in a call of ours, or are through."""
    for waits in ("treering.allreduce(1)", "pass"):
        text = _MEET + f"import time\ntreering.allreduce(1)\nif world.rank == 1: time.sleep(1000)\n{waits}\n"
        ended = scripts.run(text, hosts=3, stall_timeout="2")
        _check_failed(ended, "algo-2: rank 1 (pid ", hosts=3)
        assert "has made no progress for " in ended.failures[0]
        assert "it is in the script, 1 calls; rank 0 (algo-1, in the " in ended.failures[0]
        assert 'train.py", line 6 in <module>' in ended.log_of("algo-2"), "a rank that hangs prints where"


def test_a_script_may_compute_in_silence(scripts: Scripts) -> None:
    """For much longer than a rank of the built-in job may: nobody knows what it is about."""
    text = _MEET + "import time\ntreering.allreduce(1)\nwhile time.process_time() < 5: pass\n"
    ended = scripts.run(text, stall_timeout="0.5")
    assert ended.code == 0, ended.log


# --- asked to stop ---


def _stopped(scripts: Scripts, text: str, sign: str, **hyperparameters: str) -> Ended:
    """Start, and ask the job to stop once its log has `sign`."""
    scripts.write(text)
    process = local_jobs.start(scripts.job(hyperparameters), scripts.folder, 2)
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if line.startswith(sign):
            process.send_signal(signal.SIGTERM)
            break
    return local_jobs.wait(process, scripts.folder, seen)


def test_a_script_that_is_asked_to_stop_ends(scripts: Scripts) -> None:
    """At once: only in `treering.train` is there something that we could save."""
    ended = _stopped(scripts, _MEET + "import time\nprint('here', flush=True)\ntime.sleep(1000)\n", "here")
    assert ended.code == 1
    assert _headline(ended).startswith("the job was stopped: algo-"), ended.failures


@pytest.mark.parametrize("saves", [False, True])
def test_a_training_that_is_asked_to_stop_keeps_what_it_has(scripts: Scripts, *, saves: bool) -> None:
    """The round is finished; the script goes on to save the model only where the job wants that."""
    scripts.channels = {"train": {"a.csv": _table(60)}}
    setting = "'save_model_on_termination': 'true'" if saves else ""
    text = _TRAIN.replace("****", setting).replace("ROUNDS", "10_000_000") + "print('went on')\n"
    ended = _stopped(scripts, text, "[3]\t")
    assert ended.code == (0 if saves else 1), ended.log
    assert ended.model.exists() == saves
    assert ("went on" in ended.log) == saves
    if not saves:
        assert _headline(ended).startswith("the job was stopped: algo-")
        assert "training ended after round " in ended.failures[0]


# --- what it requires ---


def _wheel(name: str, version: str, requires: str = "") -> bytes:
    """A wheel of one module, which says its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))
    return packed.getvalue()


def _without_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """No index is reached, whatever this machine has."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")


def test_requirements_are_installed(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what is there already, once a host, and gone with the job; what is there counts as installed."""
    _without_index(monkeypatch)
    monkeypatch.setenv("TREERING_RANKS_PER_HOST", "2")
    (scripts.code / "treering_test_wheel-1.5-py3-none-any.whl").write_bytes(
        _wheel("treering_test_wheel", "1.5", "Requires-Dist: numpy\n")
    )
    scripts.write("./treering_test_wheel-1.5-py3-none-any.whl\nnumpy\nxgboost>=3\n", "requirements.txt")
    text = "import treering_test_wheel\nprint('has', treering_test_wheel.VERSION, treering_test_wheel.__file__)\n"
    ended = scripts.run(text + _MEET)
    assert ended.code == 0, ended.log
    places = [line.split()[2] for line in ended.log.splitlines() if line.startswith("has 1.5")]
    assert len(places) == 2, ended.log
    assert not Path(places[0]).exists()
    assert ended.log.count("installing ") == 1


def test_a_requirement_comes_from_the_index(scripts: Scripts, tmp_path: Path) -> None:
    """By its name, from whichever index pip asks here; with its hash, as careful users write it."""
    pip = (sys.executable, "-m", "pip")
    fetched = subprocess.run(
        [*pip, "download", "--no-deps", f"--dest={tmp_path / 'fetched'}", _SMALL],
        check=False,
        capture_output=True,
        text=True,
    )
    if fetched.returncode:
        pytest.skip(f"pip gets nothing from an index here: {fetched.stderr.strip()[-300:]}")
    scripts.write(f"{_SMALL} --hash=sha256:{_SMALL_HASH}\n", "requirements.txt")
    ended = scripts.run("import toolz\nprint('has', toolz.__version__, toolz.__file__)\n" + _MEET)
    assert ended.code == 0, ended.log
    (place,) = (line.split()[2] for line in ended.log.splitlines() if line.startswith("has 1.0.0"))
    assert not Path(place).exists()


@pytest.mark.parametrize("requirement", ["treering-test-no-such-package", "numpy==1.0"])
def test_what_cannot_be_installed_is_told(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, requirement: str
) -> None:
    """Without a network, or in another version than the ring's own: in one sentence, before the script runs."""
    _without_index(monkeypatch)
    scripts.write(requirement + "\n", "requirements.txt")
    ended = scripts.run("print('ran')")
    assert ended.code == 1
    assert _headline(ended).startswith("UserError: requirements.txt cannot be installed ("), ended.failures
    assert "without a network, install them in an image made from this one" in ended.failures[0]
    assert "ran" not in ended.log.splitlines()
