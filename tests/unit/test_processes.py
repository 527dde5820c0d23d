"""`treering.processes`: every child is told apart, reaped and ended, whatever it did before.

Children reap whatever child the process has, so each test runs them in a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from treering.processes import describe_exit

_DEADLINE = 60.0  # seconds after which a test fails instead of hanging

_PRELUDE = """
import asyncio, json, os, signal, subprocess, sys, textwrap, time
import psutil
from treering.processes import Children
PYTHON = sys.executable

async def until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)

def pipe():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    return reader, writer

def run(main):
    async def whole():
        found = await main()
        # A child that ends while asyncio is closing would make it complain: its pipe goes before its handler does.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        return found

    print(json.dumps(asyncio.run(whole())))
"""


def _run(program: str) -> Any:
    """What `program` gives to `run`, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        input="nothing of this is for the children",
        timeout=_DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0, "ended with exit code 0"),
        (137, "ended with exit code 137"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
        (-65, "was killed by signal 65"),
    ],
)
def test_the_way_a_process_ended_in_words(code: int, sentence: str) -> None:
    """Exit codes are numbers, signals are names where they have one."""
    assert describe_exit(code) == sentence


def test_each_child_has_its_own_exit_code() -> None:
    """Codes and signals of children that end in any order go to the right ones."""
    codes = _run("""
    async def main():
        children = Children()
        commands = [f"exit {n}" for n in (3, 0, 255)] + [f"kill -{n} $$" for n in (9, 15, 6)]
        started = [children.start(["sh", "-c", command], os.environ) for command in commands]
        assert len({pid for pid, _ in started}) == len(commands)
        return await asyncio.gather(*(ended for _, ended in started))
    run(main)
    """)
    assert codes == [3, 0, 255, -9, -15, -6]


def test_a_child_gets_what_it_is_given_and_nothing_else() -> None:
    """Its environment, one descriptor and stdout are as asked; stdin is empty; the session is its own."""
    found = _run("""
    async def main():
        children = Children()
        kept, given = pipe()
        _, secret = pipe()
        shown, stdout = pipe()
        look = (
            "import json, os, sys; "
            f"os.write({given}, b'x'); sys.stderr.write(''); "
            f"hidden = not os.path.exists('/proc/self/fd/{secret}'); "
            "print(json.dumps([dict(os.environ).get('A'), 'PATH' in os.environ, sys.stdin.read(), "
            "os.getsid(0) == os.getpid(), hidden]))"
        )
        _, ended = children.start([PYTHON, "-c", look], {"A": "1"}, (given,), stdout)
        assert await ended == 0
        os.close(stdout)
        return [os.read(kept, 10).decode(), *json.loads(os.read(shown, 1000))]
    run(main)
    """)
    assert found == ["x", "1", False, "", True, True]


def test_stderr_goes_where_stdout_goes() -> None:
    """A child whose output is redirected writes its errors there as well."""
    assert (
        _run("""
    async def main():
        children = Children()
        shown, stdout = pipe()
        await children.start(["sh", "-c", "echo out; echo error >&2"], os.environ, stdout=stdout)[1]
        return os.read(shown, 1000).decode()
    run(main)
    """)
        == "out\nerror\n"
    )


def test_a_program_that_does_not_exist_is_told_at_once() -> None:
    """The error comes from the start itself and leaves nothing to wait for."""
    assert _run("""
    async def main():
        children = Children()
        try:
            children.start(["/no/such/program"], os.environ)
        except FileNotFoundError:
            return await children.all_ended(0)
    run(main)
    """)


def test_signals_reach_every_child() -> None:
    """A signal goes to each child that still runs; the ones that have ended do not disturb."""
    codes = _run("""
    async def main():
        children = Children()
        shown, stdout = pipe()
        patient = "import signal; signal.signal(15, lambda *_: exit(5)); print('ready', flush=True); signal.pause()"
        gone = children.start(["true"], os.environ)[1]
        ended = [children.start([PYTHON, "-c", patient], os.environ, stdout=stdout)[1] for _ in range(2)]
        seen = b""
        while seen.count(b"ready") < 2:
            seen += await asyncio.to_thread(os.read, shown, 100)
        children.signal_all(signal.SIGTERM)
        return await asyncio.gather(gone, *ended)
    run(main)
    """)
    assert codes == [0, 5, 5]


def test_all_ended_waits_no_longer_than_asked() -> None:
    """True without children and once they have ended; False while one runs on."""
    assert _run("""
    async def main():
        children = Children()
        found = [await children.all_ended(0)]
        children.start(["sleep", "100"], os.environ)
        found.append(await children.all_ended(0.05))
        children.kill_all()
        found.append(await children.all_ended(30))
        found.append(await children.all_ended(0))
        return found
    run(main)
    """) == [True, False, True, True]


@pytest.mark.parametrize("state", ["stopped", "ignoring", "running"])
def test_kill_all_ends_children_and_what_they_started(state: str) -> None:
    """Stopped children and those that ignore signals end like all others, grandchildren with them."""
    found = _run(f"""
    async def main():
        children = Children()
        shown, stdout = pipe()
        ignore = "trap '' TERM INT HUP; " * ({state!r} == "ignoring")
        script = ignore + "sleep 100 & echo $!; exec sleep 100"
        pid, ended = children.start(["sh", "-c", script], os.environ, stdout=stdout)
        os.close(stdout)
        grandchild = int(os.read(shown, 100))
        if {state!r} == "stopped":
            for each in (pid, grandchild):
                os.kill(each, signal.SIGSTOP)
            await until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        children.kill_all()
        code = await ended
        await until(lambda: not psutil.pid_exists(grandchild))
        return code, psutil.Process().children() == []
    run(main)
    """)
    assert found == [-signal.SIGKILL, True]


def test_a_child_that_ends_takes_what_it_started_along() -> None:
    """A helper left behind by a dead rank would hold its sockets open: the end would never be seen."""
    assert _run("""
    async def main():
        children = Children()
        shown, stdout = pipe()
        pid, ended = children.start(["sh", "-c", "sleep 100 & kill -9 $$"], os.environ, stdout=stdout)
        os.close(stdout)
        code = await ended
        return code, os.read(shown, 1).decode()  # the end of the pipe: nobody holds it any more
    run(main)
    """) == [-9, ""]


def test_descendants_end_in_whatever_session_they_are() -> None:
    """Orphans that left the group and the session, stopped ones, and their children: nothing is left."""
    assert _run("""
    program = '''
    import os, time
    away, left = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            os.write(left, os.getpid().to_bytes(4, "big"))
            os.fork()
            time.sleep(1000)
    print(*(int.from_bytes(os.read(away, 4), "big") for _ in range(2)), flush=True)
    os._exit(0)
    '''
    async def main():
        children = Children()
        shown, stdout = pipe()
        command = [PYTHON, "-c", textwrap.dedent(program)]
        assert await children.start(command, os.environ, stdout=stdout)[1] == 0
        pids = [int(pid) for pid in os.read(shown, 100).split()]
        await until(lambda: len(psutil.Process().children(recursive=True)) == 4)
        os.kill(pids[0], signal.SIGSTOP)
        return await children.end_descendants(30), psutil.Process().children() == []
    run(main)
    """) == [True, True]


def test_processes_of_the_caller_are_left_alone() -> None:
    """What a program had started before it ran a job in itself goes on, with what that started."""
    assert _run("""
    def alive(process):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

    async def main():
        before = psutil.Popen(["sh", "-c", "sleep 1000; true"])
        await until(lambda: before.children())
        (below,) = before.children()
        children = Children()
        _, ended = children.start(["sleep", "1000"], os.environ)
        done = await children.end_descendants(30), await ended, alive(before), alive(below)
        before.kill()  # first: it would say that the other was killed
        below.kill()
        return done
    run(main)
    """) == [True, -9, True, True]


def test_a_child_gives_way_if_asked_to() -> None:
    """Its niceness and its score for the kernel's choice of a victim are raised, and inherited; others' are not."""
    ours, plain, way = _run("""
    async def main():
        look = "import os; print(os.nice(0), open('/proc/self/oom_score_adj').read().strip())"
        command = [PYTHON, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look!r}])"]
        found = [[os.nice(0), int(open("/proc/self/oom_score_adj").read())]]
        for gives_way in (False, True):
            children = Children()
            shown, stdout = pipe()
            assert await children.start(command, os.environ, stdout=stdout, gives_way=gives_way)[1] == 0
            os.close(stdout)
            found.append([int(value) for value in os.read(shown, 100).split()])
        return found
    run(main)
    """)
    assert plain == ours
    assert way[0] > ours[0]
    assert way[1] >= 500


def test_orphans_are_reaped() -> None:
    """Processes inherited from dead parents leave no zombie and are not taken for children."""
    found = _run("""
    async def main():
        children = Children()
        go, hold = pipe()
        told, tell = os.pipe()
        os.set_inheritable(told, True)
        # the orphan leads a session of its own, and ends when it is told, after its parent
        orphan = f"import os; os.setsid(); os.read({told}, 1); os._exit(9)"
        parent = f"import os, sys; p = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, '-c', {orphan!r}]); os.write({hold}, str(p).encode()); os._exit(4)"
        waiting = children.start(["sleep", "100"], os.environ)[1]
        code = await children.start([PYTHON, "-c", parent], os.environ, (told, hold))[1]
        pid = int(os.read(go, 100))
        os.write(tell, b"x")
        await until(lambda: not psutil.pid_exists(pid))
        untouched = not waiting.done()
        children.kill_all()
        return code, untouched, await waiting, psutil.Process().children() == []
    run(main)
    """)
    assert found == [4, True, -9, True]


def test_many_children_that_end_together_are_all_noticed() -> None:
    """Signals of ends that coincide are merged by the kernel; no end is missed for it."""
    assert _run("""
    async def main():
        children = Children()
        told, tell = os.pipe()
        scripts = [f"read x <&{told}; exit {n}" for n in range(30)]
        started = [children.start(["sh", "-c", script], os.environ, (told,)) for script in scripts]
        os.close(tell)
        while any(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid, _ in started):
            pass  # the loop is busy while they end
        ended = [each for _, each in started]
        return await asyncio.gather(*ended)
    run(main)
    """) == list(range(30))


_DEPENDANT = (
    "import os; from treering.processes import die_with_parent; die_with_parent(int(os.sys.argv[1])); "
)


@pytest.mark.parametrize("end", ["SIGKILL", "exit"])
def test_a_process_dies_with_its_parent(end: str) -> None:
    """However the parent ends, the kernel ends the child: its end of a pipe closes."""
    reader, writer = os.pipe()
    child = _DEPENDANT + f"os.write({writer}, b'ready'); import signal; signal.pause()"
    parent = (
        f"import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())], "
        f"pass_fds=[{writer}]); os.close({writer}); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader, "rb") as ends, process:
        assert ends.read(5) == b"ready"
        if end == "SIGKILL":
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        assert ends.read() == b""


def test_a_parent_that_is_gone_already_is_noticed() -> None:
    """A process whose parent is not the expected one ends at once."""
    ours = subprocess.run(
        [sys.executable, "-c", _DEPENDANT + "print('lives')", str(os.getpid())],
        capture_output=True,
        check=False,
    )
    assert (ours.returncode, ours.stdout) == (0, b"lives\n")
    another = subprocess.run(
        [sys.executable, "-c", _DEPENDANT + "print('lives')", str(os.getpid() + 1)],
        capture_output=True,
        check=False,
    )
    assert (another.returncode, another.stdout) == (-signal.SIGKILL, b"")
