"""What the container prints: one line an event, each naming its host and rank."""

from __future__ import annotations

import io
import logging
import sys
import time


def to_stdout(who: str, *, ours_alone: bool = False) -> None:
    """Send this process's log to stdout, where CloudWatch and `docker logs` read it.

    Parameters
    ----------
    who
        Stands in every line, such as ``algo-2`` or ``algo-2 rank=1(2)``.
    ours_alone
        Leave all but treering's own log and all warnings as they are: for a process that is a user's script.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no text
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
