"""Write what is in an image beside it: a bill of materials for scanners, and the notices of its licences.

Usage: describe_image.py IMAGE FOLDER LOCK < INVENTORY

The inventory is what scripts/inventory.py prints inside the image; the lock has the hashes that its wheels
were checked against.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

OURS = "treering"
VERSION = SchemaVersion.V1_6
REQUIREMENT = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")
BAR = "=" * 79
HEAD = """\
Python packages, each with the licence texts that it brings; then the packages of Debian, whose terms are in
the copyright file of each one's source package.
"""


def hashes(lock: str) -> dict[tuple[str, str], list[str]]:
    """The digests that the lock allows for each package and version; one of them is the wheel's in the image."""
    found: dict[tuple[str, str], list[str]] = {}
    package = ("", "")
    for line in lock.splitlines():
        if pinned := REQUIREMENT.match(line):
            package = normal(pinned["name"]), pinned["version"]
        for digest in HASH.findall(line):
            found.setdefault(package, []).append(digest)
    return found


def normal(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(image: str, inventory: dict[str, Any], locked: dict[tuple[str, str], list[str]]) -> Bom:
    """The bill of materials: the image, its Python packages and its Debian packages."""
    licences = LicenseFactory()
    python = [
        Component(
            name=each["name"],
            version=each["version"],
            type=ComponentType.LIBRARY,
            bom_ref=f"pypi:{normal(each['name'])}",
            purl=PackageURL("pypi", None, normal(each["name"]), each["version"]),
            licenses=[licences.make_from_string(each["licence"])] if each["licence"] else [],
            # The lock is for all platforms: the wheel in the image has one of these.
            properties=[
                Property(name="treering:locked-sha256", value=digest)
                for digest in locked.get((normal(each["name"]), each["version"]), [])
            ],
        )
        for each in inventory["python"]
    ]
    debian = [
        Component(
            name=each["name"],
            version=each["version"],
            type=ComponentType.LIBRARY,
            bom_ref=f"deb:{each['name']}:{each['architecture']}",
            purl=PackageURL("deb", "debian", each["name"], each["version"], {"arch": each["architecture"]}),
        )
        for each in inventory["debian"]
    ]
    root = Component(name=image, type=ComponentType.CONTAINER, bom_ref="image")
    made = Bom(components=[*python, *debian])
    made.metadata.component = root
    made.register_dependency(root, [*python, *debian])
    return made


def notices(image: str, inventory: dict[str, Any]) -> str:
    """The licences of all that others made, with their texts."""
    parts = [f"Third-party notices of {image}\n", HEAD]
    for each in inventory["python"]:
        if each["name"] != OURS:
            parts.append(
                f"{BAR}\n{each['name']} {each['version']}: {each['licence'] or 'see below'}\n{BAR}\n"
            )
            parts += [f"--- {name}\n{text.strip()}\n" for name, text in sorted(each["texts"].items())]
    listed = "\n".join(f"{each['name']} {each['version']}" for each in inventory["debian"])
    return "\n".join([*parts, f"{BAR}\nDebian\n{BAR}\n\n{listed}\n"])


def main(image: str, folder: Path, lock: Path) -> None:
    """Write both files; raises ValueError when the bill does not keep to CycloneDX's schema."""
    inventory = json.load(sys.stdin)
    text = make_outputter(
        bill(image, inventory, hashes(lock.read_text())), OutputFormat.JSON, VERSION
    ).output_as_string(indent=2)
    fault = JsonStrictValidator(VERSION).validate_str(text)
    if fault:
        raise ValueError(f"the bill of materials breaks CycloneDX {VERSION.to_version()}: {fault}")
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "-", image.rpartition("/")[2])
    (folder / f"{stem}.cdx.json").write_text(text + "\n")
    (folder / f"{stem}.notices.txt").write_text(notices(image, inventory))
    print(f"{folder / stem}.cdx.json, {folder / stem}.notices.txt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
