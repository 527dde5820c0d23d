"""Print as JSON what an image consists of. Runs inside it, with nothing but its own Python."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

LICENCE_NAMES = ("licen", "copying", "notice", "authors")
DPKG = ("dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\n")


def python_packages() -> list[dict[str, object]]:
    """Each distribution with the licence that it states and the texts that it brings."""
    return sorted(
        (
            {
                "name": found.metadata["Name"],
                "version": found.version,
                "licence": licence(found),
                "texts": dict(texts(found)),
            }
            for found in metadata.distributions()
        ),
        key=lambda each: str(each["name"]).lower(),
    )


def licence(found: metadata.Distribution) -> str:
    """An SPDX expression where there is one, else what the metadata says in its older ways."""
    stated = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    if stated and "\n" not in stated:
        return str(stated)
    classifiers = found.metadata.get_all("Classifier") or []
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    return "; ".join(named) or stated.partition("\n")[0]


def texts(found: metadata.Distribution) -> list[tuple[str, str]]:
    """Name and content of each licence file in the distribution's metadata."""
    return [
        (path.name, path.locate().read_text(errors="replace"))  # type: ignore[attr-defined]  # a Path, says its code
        for path in found.files or []
        if ".dist-info" in str(path) and path.name.lower().startswith(LICENCE_NAMES)
    ]


def debian_packages() -> list[dict[str, str]]:
    """Each package that dpkg knows."""
    listed = subprocess.run(DPKG, check=True, capture_output=True, text=True).stdout
    return [
        dict(zip(("name", "version", "architecture"), line.split("\t"), strict=True))
        for line in listed.splitlines()
    ]


json.dump({"python": python_packages(), "debian": debian_packages()}, sys.stdout)
