"""scripts/push_image.sh against a real registry on this machine; only `aws` is a fake."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker_engine import REPOSITORY, run_docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOOLS = REPOSITORY / ".tools" / "registry"
AWS = """\
#!/bin/bash
case "$*" in *get-login-password*) echo opensesame ;; esac
"""
KINDS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


def registry_program() -> str:
    """Debian's registry, fetched without being installed where it is not there."""
    fetched = TOOLS / "usr" / "bin" / "docker-registry"
    found = shutil.which("docker-registry") or (str(fetched) if fetched.exists() else None)
    if found is None:
        if shutil.which("apt-get") is None:
            pytest.skip("no docker-registry, and no apt-get to fetch Debian's")
        TOOLS.mkdir(parents=True, exist_ok=True)
        download = "apt-get -o APT::Sandbox::User=root download -q docker-registry"
        script = f"({download} || (apt-get update -q && {download})) && dpkg -x docker-registry_*.deb ."
        made = subprocess.run(
            ("/bin/bash", "-c", script), cwd=TOOLS, check=False, capture_output=True, text=True
        )
        assert made.returncode == 0, made.stdout + made.stderr
        found = str(fetched)
    return found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Address of an empty registry."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(config))
    command = (registry_program(), "serve", str(tmp_path / "registry.yml"))
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        log = ""
        while "listening on" not in log:
            line = server.stderr.readline()
            assert line, f"the registry does not start:\n{log}"
            log += line
        yield address
        server.kill()


@pytest.fixture
def push(docker: Callable[..., object], registry: str, tmp_path: Path) -> Callable[[], str]:  # noqa: ARG001  # none without an engine
    """Push to the registry; returns what the script prints."""
    (tmp_path / "bin").mkdir()
    aws = tmp_path / "bin" / "aws"
    aws.write_text(AWS)
    aws.chmod(0o755)
    # Its login is not to be left in the user's configuration; the plugins in there are needed.
    home = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    (tmp_path / "docker").mkdir()
    if (home / "cli-plugins").exists():
        (tmp_path / "docker" / "cli-plugins").symlink_to(home / "cli-plugins")

    def push() -> str:
        arguments = ("--registry", registry, "--region", "eu-central-1", "--tag", "pushed")
        ended = subprocess.run(
            (REPOSITORY / "scripts" / "push_image.sh", *arguments),
            check=False,
            capture_output=True,
            text=True,
            env=os.environ
            | {"PATH": f"{aws.parent}:{os.environ['PATH']}", "DOCKER_CONFIG": str(tmp_path / "docker")},
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        return ended.stdout.strip()

    return push


def test_push(push: Callable[[], str], registry: str) -> None:
    """What the script prints can be pulled, and is one image for amd64, not an index."""
    uri = push()
    try:
        name, _, digest = uri.rpartition("@")
        assert name == f"{registry}/treering"
        request = urllib.request.Request(
            f"http://{registry}/v2/treering/manifests/{digest}", headers={"Accept": ", ".join(KINDS)}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            manifest = json.load(answer)
        assert manifest["mediaType"] in KINDS[:2]
        run_docker("image", "rm", f"{name}:pushed", uri)
        pulled = run_docker("pull", "--quiet", uri)
        assert pulled.code == 0, pulled.log
        shown = run_docker("image", "inspect", "--format", "{{.Architecture}} {{.Config.Cmd}}", uri)
        assert shown.log == "amd64 [train]\n"
    finally:
        run_docker("image", "rm", "--force", uri, f"{registry}/treering:pushed")
