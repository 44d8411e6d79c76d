"""What TrainConfig's fields choose from. No torch here."""

from enum import StrEnum


class Method(StrEnum):
    """What is trained: DPO on the offline pairs alone, or HyPO, which adds the KL penalty on own samples."""

    DPO = "dpo"
    HYPO = "hypo"


class LossType(StrEnum):
    """The loss on the offline pairs: a line of :data:`hypo_engine.methods.losses.LOSSES`."""

    SIGMOID = "sigmoid"
    IPO = "ipo"
    CLAMPED = "clamped"


class KLEstimator(StrEnum):
    SEQUENCE = "sequence"
    REWARD_TO_GO = "reward_to_go"


class Scheduler(StrEnum):
    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class Precision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Sharding(StrEnum):
    NONE = "none"
    FSDP = "fsdp"


class PromptStyle(StrEnum):
    AUTO = "auto"
    CHAT = "chat"
    PLAIN = "plain"


class Thinking(StrEnum):
    """Whether prompts leave room for a model's thoughts; auto: where most of the pairs' answers hold some."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
