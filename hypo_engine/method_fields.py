"""The fields of TrainConfig that concern the model and the training method. No torch here."""

from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from hypo_engine.choices import KLEstimator, LossType, Method, Need, RolloutEngine
from hypo_engine.model_spec import parse_run_model
from hypo_engine.reward_spec import parse_reward, scorers

COMPARING = tuple(method for method in Method if Need.REFERENCE in method.needs)
"""Methods that compare the stored answers with the reference."""

WRITING = tuple(method for method in Method if method.writes)
"""Methods whose model writes answers."""

SAMPLING = tuple(method for method in Method if Need.SAMPLES in method.needs)
"""Methods that sample responses to train on."""

_ON_PAIRS = (Method.DPO, Method.HYPO)
_WEIGHED = (*_ON_PAIRS, Method.KTO, Method.SFT, Method.REWARD)
_SCORED = tuple(method for method in Method if Need.SCORES in method.needs)
_PREFERRING = (*_ON_PAIRS, Method.ONLINE_DPO)


def group(name: str, *methods: Method) -> dict[str, Any]:
    """A field's place on the form, and the methods that read it; none means all."""
    return {"group": name, "methods": [method.value for method in methods]}


class MethodFields(BaseModel):
    """The base model, the method, and the options of single methods."""

    model_name_or_path: str = Field(
        "demo",
        min_length=1,
        max_length=500,
        title="Base model",
        description="`demo` (SmolLM2-135M-Instruct), a hub id, a local folder with safetensors weights or a "
        "LoRA adapter, or `run:NUMBER`, a finished run's model.",
        json_schema_extra=group("front"),
    )
    method: Method = Field(
        Method.HYPO,
        title="Method",
        description=" ".join(f"{method}: {method.loss}." for method in Method),
        json_schema_extra=group("front"),
    )
    beta: float = Field(
        0.1,
        gt=0,
        le=10,
        title="beta",
        description="Scale of DPO's margin and KTO's log-ratios, or weight of RLOO's and PPO's KL penalty: "
        "larger keeps the policy closer to the reference.",
        json_schema_extra=group("front", *_ON_PAIRS, Method.KTO, *_SCORED),
    )
    kl_coef: float = Field(
        1e-3,
        ge=0,
        le=10,
        title="kl_coef",
        description="Weight of HyPO's reverse-KL penalty, in units of the DPO loss.",
        json_schema_extra=group("front", Method.HYPO),
    )
    reward: str = Field(
        "",
        max_length=500,
        title="Reward",
        description="Scores sampled answers, also held-out ones: length, regex:PATTERN, vader (English "
        "sentiment), run:NUMBER of a reward model, or the folder or hub id of one. Empty: no scores.",
        json_schema_extra=group("front", *WRITING),
        validate_default=True,
    )
    loss_type: LossType = Field(
        LossType.SIGMOID,
        title="Preference loss",
        description="Loss on the stored pairs. sigmoid: DPO. ipo: squared distance to the margin 1 / (2 "
        "beta). clamped: DPO with the reference's margin clamped to at least 0. simpo: length-normalised, "
        "without a reference; beta is 2 to 2.5 there.",
        json_schema_extra=group("loss", *_PREFERRING),
    )
    simpo_gamma: float = Field(
        0.5,
        ge=0,
        le=100,
        title="SimPO's gamma",
        description="Margin that simpo asks for, after beta is applied. Other losses ignore it.",
        json_schema_extra=group("loss", *_PREFERRING),
    )
    rpo_alpha: float = Field(
        0.0,
        ge=0,
        le=100,
        title="rpo_alpha",
        description="Weight of an SFT term: the negative log-likelihood of the chosen answers, a mean over "
        "their tokens, added to the preference loss.",
        json_schema_extra=group("loss", *_ON_PAIRS),
    )
    desirable_weight: float = Field(
        1.0,
        ge=0,
        le=100,
        title="Weight of chosen",
        description="Factor of KTO's loss on chosen answers. Where they are fewer, raise it until weight "
        "times number is about the same on both sides.",
        json_schema_extra=group("loss", Method.KTO),
    )
    undesirable_weight: float = Field(
        1.0,
        ge=0,
        le=100,
        title="Weight of rejected",
        description="Factor of KTO's loss on rejected answers.",
        json_schema_extra=group("loss", Method.KTO),
    )
    use_pair_weights: bool = Field(
        True,
        title="Weights of pairs",
        description="Pairs count in the loss by the weights of their dataset, if it has some, and a reward "
        "model subtracts their margins. RLOO, PPO, online DPO and HyPO's penalty learn from samples and "
        "ignore both.",
        json_schema_extra=group("loss", *_WEIGHED),
    )
    missing_eos_penalty: float = Field(
        0.0,
        ge=0,
        le=1e6,
        title="Penalty without end",
        description="Subtracted from the score of a sample that the length limit cut; 0 subtracts nothing.",
        json_schema_extra=group("loss", *_SCORED),
    )
    reward_clip: float = Field(
        0.0,
        ge=0,
        le=1e6,
        title="Score limit",
        description="Scores are limited to this number and its negative, before the penalty without end; 0 "
        "leaves them.",
        json_schema_extra=group("loss", *_SCORED),
    )
    normalize_reward: bool = Field(
        False,
        title="Normalise scores",
        description="Divide scores by the standard deviation that is stored with a reward model.",
        json_schema_extra=group("loss", *_SCORED),
    )
    center_rewards_coefficient: float = Field(
        0.0,
        ge=0,
        le=100,
        title="Centering",
        description="Weight of the squared sum of a pair's two rewards, which keeps rewards near 0. "
        "1e-2 is usual; 0 leaves it out.",
        json_schema_extra=group("loss", Method.REWARD),
    )
    num_ppo_epochs: int = Field(
        4,
        ge=1,
        le=100,
        title="Updates per batch",
        description="Updates that PPO makes on the samples of a step, each on all of them. The first one is "
        "a plain policy gradient; clipping limits the others.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    cliprange: float = Field(
        0.2,
        gt=0,
        le=1e6,
        title="Ratio limit",
        description="A token's probability ratio to the policy that sampled it earns nothing beyond 1 plus "
        "or minus this.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    cliprange_value: float = Field(
        0.2,
        gt=0,
        le=1e6,
        title="Value limit",
        description="A value that moved further than this since the sampling earns nothing more. Set it to "
        "the size of the scores.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    vf_coef: float = Field(
        0.1,
        ge=0,
        le=100,
        title="Value loss",
        description="Weight of the value head's squared error beside the policy's loss. Both train the body.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    gamma: float = Field(
        1.0,
        ge=0,
        le=1,
        title="gamma",
        description="Discount of later rewards, a token.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    lam: float = Field(
        0.95,
        ge=0,
        le=1,
        title="lambda",
        description="Trade-off of GAE: 1 uses the rewards that followed, 0 the next token's value.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    whiten_rewards: bool = Field(
        False,
        title="Whiten rewards",
        description="Divide the tokens' rewards by their standard deviation in the step; their mean stays.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    whiten_advantages: bool = Field(
        True,
        title="Whiten advantages",
        description="Scale the tokens' advantages in a step to mean 0 and deviation 1. TRL always does.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    critic_warmup: int = Field(
        2,
        ge=0,
        le=1_000_000,
        title="Critic's warm-up",
        description="First steps in which the value head alone is trained, while the policy stays as it is.",
        json_schema_extra=group("ppo", Method.PPO),
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        title="Label smoothing",
        description="Assumed share of flipped labels (conservative DPO). Sigmoid loss only.",
        json_schema_extra=group("loss", *_PREFERRING),
    )
    kl_estimator: KLEstimator = Field(
        KLEstimator.SEQUENCE,
        title="KL estimator",
        description="Score-function estimator of the KL gradient: whole sequence, or per-token reward-to-go.",
        json_schema_extra=group("loss", Method.HYPO),
    )
    num_generations: int = Field(
        2,
        ge=1,
        le=64,
        title="Responses per prompt (k)",
        description="Responses that a step samples for each prompt; 2 or more give a leave-one-out baseline.",
        json_schema_extra=group("sampling", *SAMPLING),
    )
    temperature: float = Field(
        1.0,
        gt=0,
        le=5,
        title="Temperature",
        description="Temperature of the samples. Policy and reference are scaled alike.",
        json_schema_extra=group("sampling"),
    )
    rollout: RolloutEngine = Field(
        RolloutEngine.ENGINE,
        title="Sampled by",
        description="What draws the responses of a step. engine: the engine's own decoder. vllm: the package "
        "vLLM, which gets the policy's weights at each step; it must be installed, and needs memory for a "
        "second copy of the model. Evaluations are always sampled by the engine.",
        json_schema_extra=group("sampling", *SAMPLING),
    )

    @field_validator("model_name_or_path")
    @classmethod
    def _names_a_model(cls, value: str) -> str:
        try:
            parse_run_model(value)
        except ValueError as error:
            raise PydanticCustomError("model", "{problem}", {"problem": str(error)}) from error
        return value

    @field_validator("reward")
    @classmethod
    def _names_a_reward(cls, value: str, info: ValidationInfo) -> str:
        method = info.data.get("method")
        if not value and method in _SCORED:
            raise PydanticCustomError(
                "reward",
                "is empty, but {method} needs one: {scorers}, run:NUMBER, or a reward model's folder (/path) "
                "or hub id (owner/name)",
                {"method": method.label, "scorers": scorers()},
            )
        if value:
            try:
                parse_reward(value)
            except ValueError as error:
                raise PydanticCustomError("reward", "{problem}", {"problem": str(error)}) from error
        return value

    @field_validator("num_generations")
    @classmethod
    def _compares_samples(cls, value: int, info: ValidationInfo) -> int:
        method = info.data.get("method")
        if value < 2 and method is not None and method.compares_samples:
            raise PydanticCustomError(
                "num_generations",
                "must be 2 or more for {method}, which compares samples",
                {"method": method.label},
            )
        return value

    @field_validator("label_smoothing")
    @classmethod
    def _smooths_dpo_only(cls, value: float, info: ValidationInfo) -> float:
        loss = info.data.get("loss_type", LossType.SIGMOID)
        if value and loss is not LossType.SIGMOID:
            raise PydanticCustomError(
                "label_smoothing", f"is defined for the sigmoid loss only, not for {loss}; set it to 0"
            )
        return value

    @property
    def needs(self) -> frozenset[Need]:
        """The parts of a batch that a step reads."""
        normalized = self.method in _PREFERRING and not self.loss_type.reads_reference
        return self.method.needs - (frozenset({Need.REFERENCE}) if normalized else frozenset())

    @property
    def reads_weights(self) -> bool:
        """Whether a pair counts by its weight."""
        return self.use_pair_weights and self.method in _WEIGHED

    @property
    def reads_margins(self) -> bool:
        """Whether a pair's margin is subtracted from the difference of its rewards."""
        return self.use_pair_weights and self.method is Method.REWARD

    @property
    def loads_reward_model(self) -> bool:
        """Whether a reward model scores the samples."""
        return bool(self.reward) and self.method.writes and not parse_reward(self.reward).scorer

    @property
    def held_out_needs(self) -> frozenset[Need]:
        """The parts of a batch that an evaluation reads of held-out pairs."""
        return self.needs - {Need.SAMPLES} if self.held_out_method is self.method else Method.DPO.needs

    @property
    def held_out_method(self) -> Method:
        """The method that reads the answers which an evaluation reads."""
        return Method.DPO if Need.SCORES in self.needs else self.method

    @property
    def samples_online(self) -> bool:
        """Whether a step samples responses."""
        return Need.SAMPLES in self.needs

    @property
    def decodes_online(self) -> bool:
        """Whether a step samples responses with the engine's own decoder."""
        return self.samples_online and self.rollout is RolloutEngine.ENGINE

    @property
    def samples_with_vllm(self) -> bool:
        """Whether a step samples responses with vLLM."""
        return self.samples_online and self.rollout is RolloutEngine.VLLM
