"""Every state a row can be in. Transitions are named functions in the module of the noun."""

from enum import StrEnum


class RunStatus(StrEnum):
    """States of a run; ARCHITECTURE.md draws the transitions."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED)


class RunWish(StrEnum):
    """What people want of a run; the worker reads it between steps."""

    NONE = "none"
    CANCEL = "cancel"


class GenerationKind(StrEnum):
    """What a text was sampled for."""

    ONLINE = "online"
    EVAL = "eval"
    PROBE = "probe"
    ANSWER = "answer"


class GenerationStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self not in (GenerationStatus.QUEUED, GenerationStatus.RUNNING)


class Split(StrEnum):
    """What a pair is for. VOTED pairs were held out until people voted on answers to their prompt and the
    votes became training pairs; such a prompt would flatter any later evaluation."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    VOTED = "voted"


class Choice(StrEnum):
    """A vote. For two answers BEST names the better one; a tie and both bad are different answers."""

    BEST = "best"
    TIE = "tie"
    ALL_BAD = "all_bad"


class Outcome(StrEnum):
    """How a vote stands on two of its answers."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    ALL_BAD = "all_bad"


class WhyLeftOut(StrEnum):
    """Why a vote becomes no training pair; the values are the names under which they are counted.

    UNFINISHED answers were stopped or failed. CUT ones ended at the length limit, where that was not wanted.
    """

    TIE = "ties"
    ALL_BAD = "all_bad"
    UNFINISHED = "unfinished_answer"
    DIFFERENT_HISTORIES = "different_histories"
    SAME_TEXT = "same_text"
    EMPTY = "empty_answer"
    CUT = "cut_answer"


class EventLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
