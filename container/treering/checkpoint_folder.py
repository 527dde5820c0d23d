"""The files of a job's checkpoints: two for each, the older ones removed, whatever is damaged passed over.

``xgboost-checkpoint.N`` is a model of the rounds 0 to N that any XGBoost loads. ``treering-state.N`` beside it
has all that a run needs to go on as if nothing had happened. It is written last, so a checkpoint without it was
not finished, or is another program's; its name keeps it from whoever looks for ``xgboost-checkpoint*``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from treering import artifacts
from treering.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from treering.paths import Paths

MODEL_NAME: Final = "xgboost-checkpoint"
STATE_NAME: Final = "treering-state"
KEPT: Final = 5  # newest checkpoints, as in AWS's image

_FORMAT: Final = "treering-checkpoint-1"
_NUMBERED: Final = re.compile(rf"({MODEL_NAME}|{STATE_NAME})\.([0-9]+)")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after some of its rounds.

    Parameters
    ----------
    identity
        What the run was, in words: settings, rows, processor, each a group of names and values.
    history
        Metrics of each round so far, from round 0: there are as many as rounds.
    state
        What pickling the booster keeps: the model, XGBoost's configuration and its random generator.
    """

    identity: Mapping[str, Mapping[str, str]]
    history: Sequence[Mapping[str, float]]
    state: bytes

    @property
    def number(self) -> int:
        """Its last round, counted from 0."""
        return len(self.history) - 1

    def pack(self, model: bytes) -> bytes:
        """The content of the state file that lies beside a file with these bytes of the model."""
        head = {"identity": self.identity, "history": self.history, "model": _sha256(model)}
        body = json.dumps(head).encode() + b"\n" + self.state
        return f"{_FORMAT} {_sha256(body)}\n".encode() + body

    @classmethod
    def unpack(cls, content: bytes) -> tuple[Self, str]:
        """The checkpoint in a state file, and its model's SHA-256; raises ValueError for anything else."""
        first, _, body = content.partition(b"\n")
        if first != f"{_FORMAT} {_sha256(body)}".encode():
            raise ValueError("it is damaged, or no state of treering's")
        head, _, state = body.partition(b"\n")
        known = json.loads(head)
        return cls(known["identity"], known["history"], state), known["model"]


class CheckpointFolder:
    """Where checkpoints are kept; only rank 0 looks at it.

    Parameters
    ----------
    path
        Made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, paths: Paths) -> Self | None:
        """The folder that ``checkpointconfig.json`` names; None where the job has no such file.

        Raises PlatformError when the file is not as SageMaker writes it.
        """
        try:
            found = json.loads(paths.checkpoint_config.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise PlatformError(f"{paths.checkpoint_config} cannot be read: {error}") from error
        local = found.get("LocalPath") if isinstance(found, dict) else None
        if not isinstance(local, str | None) or not isinstance(found, dict):
            raise PlatformError(f"{paths.checkpoint_config} has to be an object with a text LocalPath")
        return cls(Path(local) if local else paths.base / "checkpoints")  # SageMaker's own default

    def model(self, number: int) -> Path:
        """The file of a checkpoint that XGBoost loads."""
        return self._path(MODEL_NAME, number)

    def prepare(self) -> None:
        """Find out whether checkpoints can be kept, and clear what killed jobs left; raises PlatformError."""
        probe = self.path / f".{STATE_NAME}.probe-{secrets.token_hex(4)}"
        try:
            artifacts.write(probe, artifacts.PROBE)
            probe.unlink()
            for pattern in (f".{MODEL_NAME}.*", f".{STATE_NAME}.*"):  # artifacts' temporary names
                for part in self.path.glob(pattern):
                    part.unlink(missing_ok=True)
        except (PlatformError, OSError) as error:
            raise PlatformError(
                f"no checkpoints can be kept in the LocalPath of checkpointconfig.json: {error}"
            ) from error

    def newest(self, rounds: int) -> Checkpoint | None:
        """The newest checkpoint of at most `rounds` rounds; what cannot be trusted is told and passed over."""
        models, states = self._numbers(MODEL_NAME), self._numbers(STATE_NAME)
        foreign = sorted(models - states)
        if foreign:
            log.info(
                "skipped in %s: %s without %s beside, so not treering's, or never finished",
                self.path,
                ", ".join(f"{MODEL_NAME}.{number}" for number in foreign),
                ", ".join(f"{STATE_NAME}.{number}" for number in foreign),
            )
        for number in sorted(states, reverse=True):
            if number < rounds:
                try:
                    return self._read(number)
                except (OSError, ValueError) as error:
                    log.info("skipped checkpoint %d in %s: %s", number, self.path, error)
        return None

    def write(self, checkpoint: Checkpoint, model: bytes) -> None:
        """Add a checkpoint and remove the oldest; a failure leaves all earlier ones as they are.

        Raises PlatformError when it cannot be written.
        """
        number = checkpoint.number
        artifacts.write(self._path(MODEL_NAME, number), model)
        artifacts.write(self._path(STATE_NAME, number), checkpoint.pack(model))
        # Those with a higher number were passed over: they do not count, and are overwritten when their turn comes.
        ours = sorted(each for each in self._numbers(STATE_NAME) if each <= number)
        for old in ours[:-KEPT]:
            self._remove(old)

    def _read(self, number: int) -> Checkpoint:
        """A checkpoint whose two files belong together; raises OSError or ValueError, saying what is wrong."""
        found, sha256 = Checkpoint.unpack(self._path(STATE_NAME, number).read_bytes())
        if found.number != number:
            raise ValueError(f"its state is that of round {found.number}")
        if _sha256(self._path(MODEL_NAME, number).read_bytes()) != sha256:
            raise ValueError("its model is damaged, or another one")
        return found

    def _remove(self, number: int) -> None:
        try:
            # The model first: without its state it would be taken for another program's, and stay for ever.
            for name in (MODEL_NAME, STATE_NAME):
                self._path(name, number).unlink(missing_ok=True)
        except OSError as error:
            raise PlatformError(f"cannot remove {error.filename}: {error.strerror}") from error

    def _path(self, name: str, number: int) -> Path:
        return self.path / f"{name}.{number}"

    def _numbers(self, name: str) -> set[int]:
        matches = (_NUMBERED.fullmatch(path.name) for path in self.path.iterdir())
        return {int(match[2]) for match in matches if match and match[1] == name}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
