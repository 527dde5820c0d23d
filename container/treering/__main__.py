"""``python -m treering``: the same as the ``treering`` command."""

import sys

from treering.cli import main

sys.exit(main())
