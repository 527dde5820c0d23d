"""What the container prints: one line an event, each naming its host and rank."""

from __future__ import annotations

import io
import logging
import sys
import time


def to_stdout(who: str, *, ours_alone: bool = False) -> None:
    """Send this process's log to stdout, where CloudWatch and `docker logs` read it.

    Whatever else is printed comes out line by line from now on: at once, though nobody asked Python for that, and
    whole, though others print to the same pipe and Python was asked for no buffers.

    Parameters
    ----------
    who
        Stands in every line, such as ``algo-2`` or ``algo-2 rank=1(2)``.
    ours_alone
        Leave all but treering's own log and all warnings as they are: for a process that is a user's script.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace", line_buffering=True, write_through=False)
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter(f"%(asctime)s {who} %(message)s", "%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    if ours_alone:
        ours = logging.getLogger("treering")
        ours.handlers, ours.propagate = [handler], False
        ours.setLevel(logging.INFO)
        return
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
