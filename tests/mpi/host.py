"""One host of a test's ring: the real supervisor over a rank program of the test's own.

    python host.py COMMAND [ARGUMENT ...]

Who takes part stands in ``resourceconfig.json`` below ``SAGEMAKER_BASE_DIR``, as for a real job. With
``RANKS_REPORT_DONE`` in the environment the program has to say that it is done, as the built-in one does.
"""

from __future__ import annotations

import os
import sys

from treering import job, logs, supervisor
from treering.cluster import Cluster
from treering.launch import Launch
from treering.paths import Paths
from treering.settings import Settings


def main() -> int:
    """Run this host to the end of the job on all hosts."""
    paths = Paths.from_environment()
    resources = job.read_resources(paths)
    cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, os.environ)
    logs.to_stdout(cluster.me)
    name = job.job_name(resources, os.environ)
    settings = Settings.read(paths, os.environ)
    reports = "RANKS_REPORT_DONE" in os.environ
    return supervisor.run(Launch(name, cluster, settings, paths, tuple(sys.argv[1:]), reports_done=reports))


if __name__ == "__main__":
    sys.exit(main())
