"""What can go wrong, told apart where it is raised, and the one sentence that every host reports."""

from __future__ import annotations

import dataclasses
import enum
import traceback
from typing import Any

_LONGEST = 16_000  # characters of one part of a failure that travels between hosts


class TreeringError(Exception):
    """Base of every error that this package raises on purpose; its text is one clear sentence."""


class UserError(TreeringError):
    """Raised when the job's own input (data, hyperparameters, channels) has to change."""


class PlatformError(TreeringError):
    """Raised when what surrounds the job (mounts, config files, disk) is not as SageMaker promises."""


class ScriptError(TreeringError):
    """Raised when the user's own program fails.

    Parameters
    ----------
    sentence
        Where, and with what.
    details
        Its traceback, without what is not the user's.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details


class RingError(TreeringError):
    """Raised when hosts cannot find, reach or agree with each other.

    Parameters
    ----------
    sentence
        What happened.
    culprit
        The host that it is about, where that is another than the one that noticed.
    """

    def __init__(self, sentence: str, culprit: str | None = None) -> None:
        super().__init__(sentence)
        self.culprit = culprit


class PeerLostError(RingError):
    """Raised on a rank whose partner went away: an effect, never the cause of a failure."""


class Kind(enum.StrEnum):
    """Who has to act, in the order in which a cause outranks another that came in beside it.

    What only a fault of its own can bring about stands first; what may be the echo of another rank's
    end, such as an exception in the middle of a collective, stands behind.
    """

    USER = "user"  # the job's input
    PLATFORM = "platform"  # the mounts, the disk, the memory, the config files
    DIED = "died"  # a process ended without a word: killed from outside, or left by itself
    INTERNAL = "internal"  # an exception nobody expected
    CRASHED = "crashed"  # an abort or a bad memory access, which is an exception nobody could report
    STOPPED = "stopped"  # SIGTERM, by the platform or a person
    LOST = "lost"  # a host went silent
    STALLED = "stalled"  # all hosts are there, and nothing moves
    RING = "ring"  # a host never came, or could not be reached
    PEER = "peer"  # the echo of a failure elsewhere

    @property
    def rank_order(self) -> int:
        """Smaller is nearer to the root of the trouble; equal kinds are told apart by their time."""
        return list(Kind).index(Kind.INTERNAL if self is Kind.CRASHED else self)


def _said(error: BaseException) -> str:
    """An exception's text; some have none, and some cannot even be asked."""
    try:
        return str(error) or "no message"
    except Exception as another:  # noqa: BLE001  # any: it is the text of a stranger's class
        return f"its message could not be read: {type(another).__name__}"


def _unforeseen(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        given = "" if error.code is None else _said(error)
        return f"something in its rank called sys.exit({given}) before the work was done; see below where"
    return f"{type(error).__name__}: {_said(error)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """One cause, in the words that every host's ``/opt/ml/output/failure`` begins with.

    Parameters
    ----------
    kind
        Who has to act.
    host
        The culprit's SageMaker name.
    sentence
        What happened, where, and what to do.
    details
        For the one who has to look further: a traceback, or nothing.
    """

    kind: Kind
    host: str
    sentence: str
    details: str = ""

    @classmethod
    def of(cls, error: BaseException, host: str) -> Failure:
        """Describe an exception raised on `host`; anything unforeseen keeps its traceback."""
        details = "".join(traceback.format_exception(error))
        match error:
            case UserError() | PlatformError():
                return cls(Kind.USER if isinstance(error, UserError) else Kind.PLATFORM, host, str(error))
            case ScriptError():
                return cls(Kind.INTERNAL, host, str(error), error.details)
            case PeerLostError():
                return cls(Kind.PEER, host, str(error), details)
            case RingError():
                return cls(Kind.RING, error.culprit or host, str(error))
            case MemoryError():
                sentence = f"memory ran out ({_said(error)}); use a larger instance type, or more hosts"
                return cls(Kind.PLATFORM, host, sentence, details)
            case _:
                return cls(Kind.INTERNAL, host, _unforeseen(error), details)

    @property
    def headline(self) -> str:
        """The first line of the failure file: the culprit first, user mistakes marked as such."""
        mark = "UserError: " if self.kind is Kind.USER else ""
        return f"{self.host}: {mark}{self.sentence}"

    def text(self) -> str:
        """The whole failure file."""
        return f"{self.headline}\n\n{self.details}".rstrip() + "\n"

    def cut(self) -> Failure:
        """The same in a bounded length: the start of the sentence, the end of the details."""
        if max(len(self.sentence), len(self.details)) <= _LONGEST:
            return self
        return dataclasses.replace(self, sentence=self.sentence[:_LONGEST], details=self.details[-_LONGEST:])

    def to_json(self) -> dict[str, str]:
        """A JSON object that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Failure:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError on anything else."""
        return cls(Kind(value["kind"]), str(value["host"]), str(value["sentence"]), str(value["details"]))
