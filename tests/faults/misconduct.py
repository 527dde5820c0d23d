"""What a program can do to itself, told to the test by a file in its host's tree."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

MARKER: Final = "struck"  # the file: monotonic seconds of the fault


def act(action: str) -> None:
    """Note the time in the host's tree, and misbehave."""
    marker = Path(os.environ["SAGEMAKER_BASE_DIR"], MARKER)
    part = marker.with_suffix(".part")
    part.write_text(str(time.monotonic()))
    part.rename(marker)
    match action:
        case "exception":
            raise RuntimeError("the trainer is broken")
        case "bare exception":
            raise TimeoutError
        case "sys.exit":
            sys.exit(3)
        case "sys.exit well":
            sys.exit()
        case "os._exit":
            os._exit(7)
        case "os._exit well":
            os._exit(0)
        case "segmentation fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case _:
            raise ValueError(action)
