"""Enums stored in rows. State transitions are named functions in the module of the entity."""

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


class Shelf(StrEnum):
    """Which runs a list shows: those that are not archived, those that are, or both."""

    CURRENT = "current"
    ARCHIVED = "archived"
    ALL = "all"


class RunWish(StrEnum):
    """A user's request to a run. The worker polls it between steps."""

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


class AspectChoice(StrEnum):
    """What a vote says of an aspect if it names no best answer."""

    TIE = "tie"
    NOT_APPLICABLE = "not applicable"


class Outcome(StrEnum):
    """The result of a vote for two of its answers."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    ALL_BAD = "all_bad"


class WhyLeftOut(StrEnum):
    """Why a vote does not become a training pair. The values are the names used in counts.

    UNFINISHED answers were stopped or failed. CUT answers ended at the length limit; excluding them is
    optional.
    """

    TIE = "ties"
    ALL_BAD = "all_bad"
    UNFINISHED = "unfinished_answer"
    DIFFERENT_HISTORIES = "different_histories"
    SAME_TEXT = "same_text"
    EMPTY = "empty_answer"
    CUT = "cut_answer"


class CampaignStatus(StrEnum):
    """A paused campaign offers no tasks for now; a closed one, none any more."""

    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"


class CampaignForm(StrEnum):
    """What is judged at once: two contenders' answers, or the best and the worst of all of them."""

    PAIRS = "pairs"
    BEST_WORST = "best_worst"


class CampaignOrder(StrEnum):
    """Which task comes next: the pair that a vote tells most about, or the next one in order."""

    INFORMATIVE = "informative"
    IN_ORDER = "in_order"


class TaskStatus(StrEnum):
    """A task waits for its answers; then it is ready, or needs no vote because all answers are equal."""

    WAITING = "waiting"
    READY = "ready"
    IDENTICAL = "identical"
    FAILED = "failed"


class SlotStatus(StrEnum):
    OPEN = "open"
    VOTED = "voted"
    SKIPPED = "skipped"


class SlotKind(StrEnum):
    """What a slot is for. A REPEAT shows again what the person has judged; a CHECK has one right answer."""

    TASK = "task"
    REPEAT = "repeat"
    CHECK = "check"


class JudgeKind(StrEnum):
    """What a judge is: a model behind an endpoint that compares two answers, or a scorer of each answer."""

    ENDPOINT = "endpoint"
    SCORER = "scorer"


class VerdictStatus(StrEnum):
    """States of a judge's verdict. UNPARSABLE: a reply names no verdict, which is never guessed."""

    QUEUED = "queued"
    JUDGED = "judged"
    UNPARSABLE = "unparsable"
    FAILED = "failed"
    STOPPED = "stopped"


class ScoringStatus(StrEnum):
    """States of a text's scoring, token by token."""

    QUEUED = "queued"
    FINISHED = "finished"
    FAILED = "failed"


class PairScoringStatus(StrEnum):
    """States of the scoring of a dataset's pairs. QUEUED: it waits for a worker, or one is at it."""

    QUEUED = "queued"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class MarginKind(StrEnum):
    """What a margin is the difference of.

    RELATIVE: log-ratios to the reference, times beta, as DPO's implicit reward. PER_TOKEN: mean
    log-probabilities per token, times beta for SimPO. REWARD: rewards of a reward model.
    """

    RELATIVE = "relative"
    PER_TOKEN = "per_token"
    REWARD = "reward"


class EventLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
