"""How long the fuzzers search: some seconds each by default, longer with TREERING_FUZZ_EXAMPLES (`make fuzz`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("TREERING_FUZZ_EXAMPLES", "300"))

FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    # Folders of a test are used again by each example, which writes its files anew.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
