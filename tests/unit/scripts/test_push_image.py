"""scripts/push_image.sh against an `aws` and a `docker` that write down what they are asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import treering

REPOSITORY = Path(__file__).resolve().parents[3]
REGISTRY = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
DIGEST = f"sha256:{'5' * 64}"

AWS = """\
#!/bin/bash
echo "aws $*" >> "$CALLS"
case "$*" in
  *describe-repositories*) exit "$MISSING" ;;
  *get-caller-identity*) echo 111122223333 ;;
  *get-login-password*) echo opensesame ;;
  "configure get region") echo eu-central-1 ;;
esac
"""
DOCKER = """\
#!/bin/bash
echo "docker $*" >> "$CALLS"
case "$*" in
  push*) echo "Pushed" ;;
  login*) echo "the password is $(cat)" >> "$CALLS" ;;
  "image inspect"*) name=${@: -1}; printf '%s\\n' another.registry/treering@sha256:0 "${name%:*}@$DIGEST" ;;
esac
"""


class Push:
    """The script with both tools faked."""

    def __init__(self, folder: Path) -> None:
        self.calls_file = folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in {"aws": AWS, "docker": DOCKER}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def __call__(self, *arguments: str, missing: bool = False, **variables: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "XGBOOST"))}
        ended = subprocess.run(
            (REPOSITORY / "scripts" / "push_image.sh", *arguments),
            check=False,
            capture_output=True,
            text=True,
            env=clean
            | {
                "PATH": f"{self.bin}:{clean['PATH']}",
                "CALLS": str(self.calls_file),
                "DIGEST": DIGEST,
                "MISSING": f"{missing:d}",
            }
            | variables,
        )
        return ended.returncode, ended.stdout, ended.stderr

    @property
    def calls(self) -> list[str]:
        """What the tools were asked for, in order."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def push(tmp_path: Path) -> Push:
    """The script with both tools faked."""
    return Push(tmp_path)


def test_push(push: Push) -> None:
    """The only line on stdout is the image_uri; what is built is what is pushed, for amd64, without an index."""
    code, out, _ = push()
    assert (code, out) == (0, f"{REGISTRY}/treering@{DIGEST}\n")
    name = f"{REGISTRY}/treering:{treering.__version__}"
    asked = "\n".join(push.calls)
    assert "the password is opensesame" in push.calls
    assert f"docker login --username AWS --password-stdin {REGISTRY}" in push.calls
    assert f"docker push {name}" in push.calls
    build = next(call for call in push.calls if "buildx build" in call)
    assert f"--tag {name} " in build
    assert "--platform linux/amd64" in build
    assert "--provenance=false" in build
    assert asked.index("docker login") < asked.index("buildx build") < asked.index("docker push")
    assert "create-repository" not in asked


def test_repository_is_created_when_missing(push: Push) -> None:
    """Only then: creating one that exists would be an error."""
    code, _, _ = push("--repository", "team/treering", missing=True)
    assert code == 0
    created = [call for call in push.calls if "create-repository" in call]
    assert len(created) == 1
    assert "--repository-name team/treering" in created[0]


@pytest.mark.parametrize(
    ("region", "domain"), [("us-east-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")]
)
def test_region(push: Push, region: str, domain: str) -> None:
    """The option decides over the environment; China has a domain of its own."""
    code, _, _ = push("--region", region, AWS_REGION="eu-west-3")
    assert code == 0
    assert any(f"111122223333.dkr.ecr.{region}.{domain}/treering" in call for call in push.calls)
    assert not any("eu-west-3" in call for call in push.calls)


def test_gpu_image_has_a_tag_of_its_own(push: Push) -> None:
    """The two images of one version do not overwrite each other."""
    assert push(XGBOOST="gpu")[0] == 0
    assert any(call.endswith(f"treering:{treering.__version__}-gpu") for call in push.calls)


def test_dry_run(push: Push) -> None:
    """Nothing is asked of anybody; the commands are printed in their order."""
    code, out, _ = push("--dry-run", "--region", "eu-central-1", "--tag", "mine", "--", "--no-cache")
    assert code == 0
    assert push.calls == []
    words = ["create-repository", "get-login-password", "build_image.sh", "docker push"]
    places = [out.index(word) for word in words]
    assert places == sorted(places)
    assert "treering:mine --platform linux/amd64 --no-cache" in out


@pytest.mark.parametrize("wrong", [("--regoin", "x"), ("--region",), ("now",)])
def test_mistakes(push: Push, wrong: tuple[str, ...]) -> None:
    """An option that does not exist, or lacks its value, is told, and nothing is done."""
    code, out, err = push(*wrong)
    assert (code, out) == (1, "")
    assert wrong[0] in err
    assert push.calls == []


def test_failed_login_pushes_nothing(push: Push) -> None:
    """A tool that fails ends the script, with its own message on stderr."""
    (push.bin / "docker").write_text("#!/bin/bash\necho 'docker: denied' >&2\nexit 3\n")
    code, out, err = push()
    assert (code, out) == (3, "")
    assert "denied" in err
