"""How much memory a run takes, before it starts: from sizes, configuration and lengths. No torch here.

Pure arithmetic. What follows from the engine's code stands in the formulas; what had to be measured
stands in :class:`Coefficients`, so that a measured peak that disagrees is one number to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from hypo_engine.config import Precision, TrainConfig
from hypo_engine.memory.shape import ModelShape

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Saved:
    """How much more a family saves for the backward pass than its leanest form, for float32 and bfloat16."""

    float32: float
    bfloat16: float


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What the formulas multiply by.

    The leanest form of a layer saves, for each token, ``hidden`` vectors of the hidden size (the norms'
    inputs and outputs), ``attention`` copies of queries, keys, values and attention's result, and ``wide``
    vectors of the feed-forward width (gate, up, and their product). Merged adapters make the norms' outputs
    and the product again (:mod:`hypo_engine.forward.rematerialize`) and do not keep them.

    Attributes:
        families: What a model_type saves of that, counted by autograd's saved tensors on small models: more
            where transformers' own modules run, and in bfloat16, where LoRA works in float32 beside them.
        other: The same for families nobody counted.
        remade: Families whose norms and gates can be made again.
        remade_hidden: As ``hidden``, for them and with merged adapters; ``remade_wide`` likewise.
        unmerged: Families whose matrices LoRA does not merge: they are no plain linear layers.
        scores: Numbers kept for each head, token and key it attends to, where scores are soft-capped.
        checkpointed: Vectors of the hidden size kept a layer with gradient checkpointing.
        workspace: Layers' worth of saved numbers that the backward pass needs at once.
        recomputed: The same with gradient checkpointing, from the peaks of four runs of SmolLM2-135M.
        chunk_elements: Numbers of one chunk of logits.
        block_elements: The same of a frozen float32 head on a CPU: it goes through the vocabulary in blocks.
        chunk_copies: Chunks that exist at once: logits, probabilities, and the product in the weights' type.
        head_hidden: Vectors of the hidden size that the head keeps for each scored token.
        held_out_at_once: Prompts that an evaluation samples together.
        process: Bytes of Python and its libraries, on a CPU.
        gpu_process: The same as far as it lies on the GPU.
        slack: What the allocator takes beyond what is asked for.
    """

    hidden: float = 4.0
    attention: float = 1.0
    wide: float = 3.0
    families: Mapping[str, Saved] = field(
        default_factory=lambda: {
            "llama": Saved(1.05, 2.25),
            "mistral": Saved(1.05, 2.25),
            "qwen2": Saved(1.05, 2.25),
            "qwen3": Saved(1.18, 2.43),
            "gpt_neox": Saved(0.88, 1.40),
            "gpt2": Saved(1.55, 1.97),
            "gemma2": Saved(1.37, 2.38),
        }
    )
    other: Saved = field(default_factory=lambda: Saved(2.0, 3.0))
    remade: frozenset[str] = frozenset({"llama", "mistral", "qwen2", "qwen3"})
    remade_hidden: float = 2.0
    remade_wide: float = 2.0
    unmerged: frozenset[str] = frozenset({"gpt2"})
    scores: float = 2.4
    checkpointed: float = 1.05
    workspace: float = 1.0
    recomputed: float = 2.0
    chunk_elements: int = 2**23
    block_elements: int = 2**20
    chunk_copies: float = 3.0
    head_hidden: float = 3.0
    held_out_at_once: int = 16
    process: int = 480 * 2**20
    gpu_process: int = 0
    slack: float = 1.05


COEFFICIENTS = Coefficients()


@dataclass(frozen=True, slots=True)
class PairLength:
    """Tokens of a pair, or an upper bound of them."""

    prompt: int
    chosen: int
    rejected: int

    @property
    def tokens(self) -> int:
        """Distinct tokens of the pair."""
        return self.prompt + self.chosen + self.rejected


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes that a run takes at its peak, part by part.

    Attributes:
        weights: The base model, a merged copy of the matrices that responses are sampled with in every step,
            the reference of full fine-tuning.
        adapter: LoRA's own weights.
        optimiser: AdamW's two moments.
        gradients: Of everything that is trained.
        activations: What the forward pass keeps for the backward pass, of the heaviest micro-batch.
        kv_cache: Keys and values while responses are sampled, in training or in an evaluation; where that is
            all the sampling there is, the merged copy too.
        head: Chunks of logits.
        process: Python and its libraries.
    """

    weights: int
    adapter: int
    optimiser: int
    gradients: int
    activations: int
    kv_cache: int
    head: int
    process: int

    @property
    def total(self) -> int:
        """The peak. Sampling ends before the forward pass begins, so only the larger of the two counts."""
        lasting = self.weights + self.adapter + self.optimiser + self.gradients + self.process
        return lasting + self.head + max(self.activations, self.kv_cache)

    def parts(self) -> dict[str, int]:
        """Bytes by name, in order; the total is not among them."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, slots=True)
class Load:
    """Tokens of the heaviest micro-batch, summed over its pairs.

    Attributes:
        pairs: Pairs in it.
        prompts: Tokens of the prompts.
        answers: Tokens of the chosen and rejected answers.
        sampled: Tokens of the responses HyPO samples, if none ends early.
    """

    pairs: int
    prompts: int
    answers: int
    sampled: int


def estimate_memory(
    shape: ModelShape,
    config: TrainConfig,
    lengths: Sequence[PairLength] | None = None,
    *,
    gpu: bool = False,
    using: Coefficients = COEFFICIENTS,
) -> Estimate:
    """The memory of a run.

    Args:
        lengths: Of the run's pairs, at least of the longest; None takes the configured maxima.
        gpu: Whether it runs on a GPU, where automatic precision is bfloat16.
    """
    load = heaviest(config, lengths)
    half = config.precision is Precision.BFLOAT16 or (config.precision is Precision.AUTO and gpu)
    number = 2 if half else 4  # bytes of one number in the model's arithmetic
    weights, adapter, trained = _weights(shape, config, using, half=half, gpu=gpu)
    return Estimate(
        weights=weights,
        adapter=adapter,
        optimiser=8 * trained,
        gradients=4 * trained,
        activations=_activations(shape, config, load, number, using),
        kv_cache=_kv_cache(shape, config, load, number, using, gpu=gpu),
        head=_head(shape, load, using, in_blocks=number == 4 and config.lora_r > 0 and not gpu),
        process=using.gpu_process if gpu else using.process,
    )


def heaviest(config: TrainConfig, lengths: Sequence[PairLength] | None) -> Load:
    """The micro-batch of the longest pairs, none taken for longer than the configured maxima.

    A run leaves pairs with longer answers out; here they stand for pairs just short enough.
    """
    size, most_prompt, most_answer = (
        config.per_device_train_batch_size,
        config.max_prompt_length,
        config.max_completion_length,
    )
    if lengths is None:
        batch = [PairLength(most_prompt, most_answer, most_answer)] * size
    else:
        cut = (
            PairLength(*map(min, (p.prompt, p.chosen, p.rejected), (most_prompt, most_answer, most_answer)))
            for p in lengths
        )
        batch = sorted(cut, key=lambda pair: pair.tokens, reverse=True)[:size]
    own = config.num_generations * most_answer if config.samples_online else 0
    return Load(
        pairs=len(batch),
        prompts=sum(pair.prompt for pair in batch),
        answers=sum(pair.chosen + pair.rejected for pair in batch),
        sampled=len(batch) * own,
    )


def _weights(
    shape: ModelShape, config: TrainConfig, using: Coefficients, *, half: bool, gpu: bool
) -> tuple[int, int, int]:
    """Bytes of the base weights and of the adapter, and how many numbers are trained."""
    if config.lora_r == 0:
        cast = 2 * shape.linear_parameters if half else 0  # autocast keeps what it cast
        return 8 * shape.parameters + cast, 0, shape.parameters  # the policy, and a frozen reference
    trained = shape.adapted(config.lora_target_modules)[1] * config.lora_r
    copy = _merged(shape, config, using, half=half, gpu=gpu) if config.samples_online else 0
    return (2 if half else 4) * shape.parameters + copy, 4 * trained, trained


def _merged(shape: ModelShape, config: TrainConfig, using: Coefficients, *, half: bool, gpu: bool) -> int:
    """Bytes of the adapted matrices merged with the adapter: on a CPU, while something is sampled."""
    if half or gpu or config.lora_r == 0 or shape.family in using.unmerged:
        return 0
    return 4 * shape.adapted(config.lora_target_modules)[0]


def _activations(shape: ModelShape, config: TrainConfig, load: Load, number: int, using: Coefficients) -> int:
    """Bytes that the backward pass waits for, and what it needs while it runs."""
    merged = number == 4 and config.lora_r > 0
    a_layer = _saved_a_layer(shape, number, using, remade=merged and shape.family in using.remade)
    tokens = load.prompts + load.answers + load.sampled
    saved = tokens * shape.layers * a_layer
    scores = 4 * using.scores * shape.heads * _attended(load) if shape.softcapped else 0.0
    saved += shape.layers * scores
    if config.gradient_checkpointing:
        saved = (
            number
            * shape.layers
            * (using.checkpointed * tokens * shape.hidden + 2 * load.prompts * shape.kv_dim)
        )
    at_once = using.recomputed if config.gradient_checkpointing else using.workspace
    return round(using.slack * (saved + at_once * (tokens * a_layer + scores)))


def _attended(load: Load) -> float:
    """Keys that all tokens attend to, if the pairs are alike."""
    if not load.pairs:
        return 0.0
    answers = load.answers + load.sampled
    prompt, answer = load.prompts / load.pairs, load.answers / load.pairs / 2
    return load.prompts * prompt + answers * (prompt + answer)


def _saved_a_layer(shape: ModelShape, number: int, using: Coefficients, *, remade: bool) -> float:
    """Bytes saved for one token in one layer."""
    numbers = (
        (using.remade_hidden if remade else using.hidden) * shape.hidden
        + 2 * using.attention * (shape.q_dim + shape.kv_dim)
        + (using.remade_wide if remade else using.wide) * shape.intermediate * shape.experts_a_token
    )
    family = using.families.get(shape.family, using.other)
    return number * numbers * (family.float32 if number == 4 else family.bfloat16)


def _kv_cache(
    shape: ModelShape, config: TrainConfig, load: Load, number: int, using: Coefficients, *, gpu: bool
) -> int:
    """Bytes of keys and values: of a training step's samples, or of an evaluation's if that is more."""
    prompts = min(config.eval_prompts, using.held_out_at_once)
    evaluation = prompts * (config.max_prompt_length + config.max_completion_length)
    training = load.prompts + load.sampled if config.samples_online else 0
    found = max(evaluation, training) * 2 * shape.kv_dim * shape.layers * number
    now_and_then = evaluation and not config.samples_online
    return found + (_merged(shape, config, using, half=number == 2, gpu=gpu) if now_and_then else 0)


def _head(shape: ModelShape, load: Load, using: Coefficients, *, in_blocks: bool) -> int:
    """Bytes of the chunks of float32 logits, and of what the head keeps for each scored token."""
    rows = load.answers + load.sampled
    elements = using.block_elements if in_blocks and not shape.softcapped else using.chunk_elements
    chunk = min(elements, rows * shape.vocab)
    return round(4 * (using.chunk_copies * chunk + using.head_hidden * rows * shape.hidden))


def format_bytes(count: float) -> str:
    """Bytes for people: `512 MiB`, `3.1 GiB`."""
    if count >= 100 * GIB:
        return f"{count / GIB:,.0f} GiB"
    if count >= 0.995 * GIB:
        return f"{count / GIB:.1f} GiB"
    if count >= 2**20:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**10:.0f} KiB" if count else "0"
