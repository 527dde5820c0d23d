"""Run a command, then print the largest resident set, in bytes, of any process that it had.

    python -S benchmarks/peak.py COMMAND...

A process begins with the resident set of the one that started it, so that has to be a small one: this.
"""

import os
import resource
import sys

code = os.spawnvp(os.P_WAIT, sys.argv[1], sys.argv[1:])  # noqa: S606  # a command, not a shell's text
print("peak:", 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
