"""`treering.logs`: one line an event on stdout, each saying whose it is."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest

_START = "import logging, sys, warnings\nfrom treering import logs\n"


def _run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _START + program],
        check=True,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=os.environ | environ,
    )


def test_a_line_has_the_time_and_who_speaks() -> None:
    """UTC to the second, the name, the text; nothing goes to stderr."""
    done = _run(
        "logs.to_stdout('algo-2 rank=1(2)'); logging.getLogger('any').info('%d rows', 5)", TZ="Asia/Tokyo"
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d algo-2 rank=1\(2\) 5 rows\n", done.stdout)
    assert not done.stderr


def test_times_are_utc() -> None:
    """Hosts in different zones, or in none, write comparable times."""
    program = (
        "import time; logs.to_stdout('algo-1'); before = time.strftime('%H:%M:%S', time.gmtime())\n"
        "logging.info('x'); print(before, time.strftime('%H:%M:%S', time.gmtime()))"
    )
    line, bounds = _run(program, TZ="Asia/Kathmandu").stdout.splitlines()
    before, after = bounds.split()
    assert before <= line[:8] <= after or after < before  # midnight in between


@pytest.mark.parametrize(("level", "shown"), [("debug", False), ("info", True), ("error", True)])
def test_events_from_info_upwards_are_shown(level: str, *, shown: bool) -> None:
    """What is only of use while debugging stays out of a job's log."""
    assert bool(_run(f"logs.to_stdout('algo-1'); logging.{level}('x')").stdout) == shown


def test_warnings_of_libraries_become_lines() -> None:
    """A warning is an event of its host as well, not a stray text on stderr."""
    done = _run("logs.to_stdout('algo-1'); warnings.warn('careful')")
    assert "algo-1 " in done.stdout
    assert "careful" in done.stdout
    assert not done.stderr


def test_a_new_name_replaces_the_old_one() -> None:
    """A process that learns its rank later speaks under the new name only, once."""
    done = _run("logs.to_stdout('algo-1'); logs.to_stdout('algo-1 rank=0(2)'); logging.info('x')")
    (line,) = done.stdout.splitlines()
    assert line.endswith("algo-1 rank=0(2) x")


def test_lines_leave_at_once() -> None:
    """A process that is killed has said what it logged before."""
    program = "import os; logs.to_stdout('algo-1'); logging.info('last words'); os._exit(0)"
    assert "last words" in _run(program).stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_printed_lines_are_whole_and_leave_at_once(name: str, unbuffered: str) -> None:
    """Each is one write, so that lines of two ranks on one pipe do not mix, and none waits for another."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # it keeps writes apart
    ours.settimeout(60)
    program = f"logs.to_stdout('algo-1'); print('a', 1, [2], file=sys.{name}); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", _START + program],
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=theirs.fileno() if name == "stdout" else None,
        stderr=theirs.fileno() if name == "stderr" else None,
    )
    theirs.close()
    with ours:
        assert ours.recv(1000) == b"a 1 [2]\n"
        process.communicate(timeout=60)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_any_file_name_can_be_logged(locale: str) -> None:
    """A name of any bytes neither loses its line nor prints a traceback, whatever the locale."""
    done = _run(
        "import os; logs.to_stdout('algo-1'); logging.info('read %s', os.fsdecode(b'z\\xc3\\xbcrich-\\xff'))",
        LC_ALL=locale,
    )
    assert "algo-1 read z" in done.stdout
    assert not done.stderr


def test_a_script_keeps_its_own_log() -> None:
    """Ours is told in our form and once; the rest is as the script sets it up, and warnings go where Python's go."""
    done = _run(
        "logs.to_stdout('algo-1', ours_alone=True); logging.getLogger('treering.any').info('ours')\n"
        "logging.basicConfig(level=logging.DEBUG, format='mine %(message)s', stream=sys.stdout)\n"
        "logging.debug('theirs'); logging.getLogger('treering').debug('too much'); warnings.warn('careful')"
    )
    ours, theirs = done.stdout.splitlines()
    assert ours.endswith(" algo-1 ours")
    assert theirs == "mine theirs"
    assert "careful" in done.stderr
