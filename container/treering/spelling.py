"""Which known name somebody meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known name that is most like `name`, as `` (did you mean X?)``; else nothing."""
    plain = {_plain(other): other for other in known}
    found = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" (did you mean {plain[found[0]]}?)" if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
