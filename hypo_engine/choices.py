"""The choices of TrainConfig's fields. No torch here."""

from enum import StrEnum


class Method(StrEnum):
    """DPO on the offline pairs alone, or HyPO, which adds a KL penalty on the policy's own samples."""

    DPO = "dpo"
    HYPO = "hypo"


class LossType(StrEnum):
    """The loss on the offline pairs: a key of :data:`hypo_engine.methods.losses.LOSSES`."""

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
    """Whether a model may think before it answers; auto: if most answers of the pairs contain thoughts."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
