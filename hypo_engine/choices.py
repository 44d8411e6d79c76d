"""The choices of TrainConfig's fields, and what each training method needs. No torch here."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Need(StrEnum):
    """A part of a batch that a method reads.

    CHOSEN, REJECTED: log-probabilities of the stored answers. REFERENCE: those of the reference model for the
    stored answers. MISMATCHED: the log-ratio of answers under other prompts of the step. SAMPLES: responses
    that the policy samples, with both log-probabilities. REWARDS: rewards of the stored answers from a
    trained head. SCORES: scores of the samples. VALUES: values of the samples' tokens from a trained head,
    for several updates on the same samples.
    """

    CHOSEN = "chosen"
    REJECTED = "rejected"
    REFERENCE = "reference"
    MISMATCHED = "mismatched"
    SAMPLES = "samples"
    REWARDS = "rewards"
    SCORES = "scores"
    VALUES = "values"


_PAIRS: Final = frozenset({Need.CHOSEN, Need.REJECTED, Need.REFERENCE})
_SCORED: Final = frozenset({Need.SAMPLES, Need.SCORES})


@dataclass(frozen=True, slots=True)
class _Traits:
    """A method's name for people, one of its runs in words, what it minimises, and its needs."""

    label: str
    run: str
    loss: str
    needs: frozenset[Need]


class Method(StrEnum):
    """A training method: a key of :data:`hypo_engine.methods.objective.METHODS`."""

    DPO = "dpo"
    HYPO = "hypo"
    KTO = "kto"
    SFT = "sft"
    REWARD = "reward"
    RLOO = "rloo"
    PPO = "ppo"
    ONLINE_DPO = "online_dpo"

    @property
    def label(self) -> str:
        """The name for people: `DPO`."""
        return _TRAITS[self].label

    @property
    def run(self) -> str:
        """A run of the method: `a DPO run`."""
        return _TRAITS[self].run

    @property
    def loss(self) -> str:
        """What the method minimises, without an article at its start."""
        return _TRAITS[self].loss

    @property
    def writes(self) -> bool:
        """Whether the trained model writes answers; a reward model only scores them."""
        return Need.REWARDS not in self.needs

    def uses(self, chosen: bool, rejected: bool) -> bool:
        """Whether the method trains on a row that has a chosen answer, or a rejected one, or both."""
        if Need.MISMATCHED in self.needs:
            return chosen or rejected
        both = Need.REWARDS in self.needs
        return (chosen or not (both or Need.CHOSEN in self.needs)) and (
            rejected or not (both or Need.REJECTED in self.needs)
        )

    @property
    def compares_samples(self) -> bool:
        """Whether the method compares the scores of a prompt's samples, so that it needs two or more."""
        return Need.SCORES in self.needs and Need.VALUES not in self.needs

    @property
    def judges_pairs(self) -> bool:
        """Whether an evaluation compares the two answers of held-out pairs."""
        return bool(self.needs & {Need.REJECTED, Need.REWARDS, Need.SCORES})

    @property
    def needs(self) -> frozenset[Need]:
        """The parts of a batch that the method reads."""
        return _TRAITS[self].needs


_TRAITS: Final = {
    Method.DPO: _Traits(
        label="DPO", run="a DPO run", loss="the preference loss on the stored pairs", needs=_PAIRS
    ),
    Method.HYPO: _Traits(
        label="HyPO",
        run="a HyPO run",
        loss="DPO's loss plus a KL penalty on sampled responses",
        needs=_PAIRS | {Need.SAMPLES},
    ),
    Method.KTO: _Traits(
        label="KTO",
        run="a KTO run",
        loss="one minus the value of each answer by itself, chosen ones above and rejected ones below a "
        "reference point; rows may have one answer",
        needs=_PAIRS | {Need.MISMATCHED},
    ),
    Method.REWARD: _Traits(
        label="Reward model",
        run="a reward model",
        loss="the Bradley-Terry loss of a reward for each answer; the model scores answers and writes none",
        needs=frozenset({Need.REWARDS}),
    ),
    Method.RLOO: _Traits(
        label="RLOO",
        run="an RLOO run",
        loss="minus the score of sampled responses, less beta times their KL, by policy gradient",
        needs=_SCORED,
    ),
    Method.PPO: _Traits(
        label="PPO",
        run="a PPO run",
        loss="RLOO's objective by several clipped updates on the same samples, with a value head",
        needs=_SCORED | {Need.VALUES},
    ),
    Method.ONLINE_DPO: _Traits(
        label="Online DPO",
        run="an online DPO run",
        loss="DPO's loss on the best and the worst of the sampled responses by score",
        needs=_SCORED,
    ),
    Method.SFT: _Traits(
        label="SFT",
        run="an SFT run",
        loss="the negative log-likelihood of the chosen answers",
        needs=frozenset({Need.CHOSEN}),
    ),
}


class LossType(StrEnum):
    """The loss on the offline pairs: a key of :data:`hypo_engine.methods.losses.LOSSES`."""

    SIGMOID = "sigmoid"
    IPO = "ipo"
    CLAMPED = "clamped"
    SIMPO = "simpo"

    @property
    def reads_reference(self) -> bool:
        """Whether the loss compares the policy with the reference."""
        return self is not LossType.SIMPO


class KLEstimator(StrEnum):
    SEQUENCE = "sequence"
    REWARD_TO_GO = "reward_to_go"


class RolloutEngine(StrEnum):
    """What draws the samples that a step trains on."""

    ENGINE = "engine"
    VLLM = "vllm"


class Scheduler(StrEnum):
    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class Precision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class BestMetric(StrEnum):
    """The held-out metric by which a run's best checkpoint is chosen; the highest value is the best."""

    NONE = "none"
    ACCURACY = "eval_rewards/accuracies"
    SCORE = "eval_objective/scores"


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
