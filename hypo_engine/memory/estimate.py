"""Estimates a run's peak memory from model sizes, configuration and pair lengths. No torch here.

Pure arithmetic. The formulas follow from the engine's code; measured values are in :class:`Coefficients`,
so a disagreement with a measured peak is one number to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from hypo_engine.config import Need, Precision, TrainConfig
from hypo_engine.memory.rollout import cache_bytes
from hypo_engine.memory.shape import ModelShape, adapts_gates
from hypo_engine.model_spec import is_run_model

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Saved:
    """What a family saves for the backward pass, relative to the fused forms.

    Attributes:
        float32: With float32 activations.
        bfloat16: With bfloat16 activations, in full fine-tuning.
        with_lora: With bfloat16 activations and LoRA.
    """

    float32: float
    bfloat16: float
    with_lora: float


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The coefficients of the formulas.

    A fully fused layer saves, for each token, ``hidden`` vectors of the hidden size (the norms' inputs and
    outputs), ``attention`` copies of queries, keys, values and attention's result, and ``wide`` vectors of
    the feed-forward width (gate, up, and their product). With merged adapters, the norms' outputs and the
    product are recomputed instead (:mod:`hypo_engine.forward.rematerialize`).

    Attributes:
        families: What a model_type saves relative to that, counted from autograd's saved tensors on small
            models. It is more where transformers' own modules run, and in bfloat16, where LoRA computes in
            float32.
        other: The same for families that were not counted.
        remade: Families whose norms and gates can be recomputed.
        remade_hidden: ``hidden`` for those families with merged adapters; ``remade_wide`` likewise.
        narrow_wide: The same where gate and up are kept in bfloat16 (:mod:`hypo_engine.forward.mixed_lora`).
        unmerged: Families whose matrices are no plain linear layers, so that LoRA does not merge them.
        scores: Numbers saved per head, token and attended key if scores are soft-capped.
        checkpointed: Vectors of the hidden size that are kept per layer with gradient checkpointing.
        workspace: Working memory of the backward pass, in layers' worth of saved numbers.
        recomputed: The same with gradient checkpointing, from the peaks of four runs of SmolLM2-135M.
        chunk_elements: Numbers in one chunk of logits.
        block_elements: The same for a frozen float32 head on a CPU, which iterates over blocks of the
            vocabulary.
        chunk_copies: Chunks that exist at once: logits, probabilities, and the product in the weights'
            dtype.
        head_hidden: Vectors of the hidden size that the head saves per scored token.
        held_out_at_once: Prompts that an evaluation samples together.
        four_bit: Bytes of a weight in 4 bits with its share of the scales, which are quantised themselves:
            a byte a block, and 4 bytes for 256 blocks.
        four_bit_block: Weights that share a scale.
        vllm_process: Bytes of vLLM's libraries and its working memory, on a CPU.
        process: Bytes of Python and its libraries, on a CPU.
        four_bit_process: Further bytes for bitsandbytes, on a CPU.
        gpu_process: Bytes of the CUDA context on a GPU.
        slack: Overhead of the allocator, relative to the requested bytes.
    """

    hidden: float = 4.0
    attention: float = 1.0
    wide: float = 3.0
    families: Mapping[str, Saved] = field(
        default_factory=lambda: {
            "llama": Saved(1.05, 2.25, 1.50),
            "mistral": Saved(1.05, 2.25, 1.50),
            "qwen2": Saved(1.05, 2.25, 1.50),
            "qwen3": Saved(1.18, 2.43, 1.69),
            "gpt_neox": Saved(0.88, 1.40, 1.20),
            "gpt2": Saved(1.55, 1.97, 1.95),
            "gemma2": Saved(1.37, 2.38, 1.83),
        }
    )
    other: Saved = field(default_factory=lambda: Saved(2.0, 3.0, 3.0))
    remade: frozenset[str] = frozenset({"llama", "mistral", "qwen2", "qwen3"})
    remade_hidden: float = 2.0
    remade_wide: float = 2.0
    narrow_wide: float = 1.0
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
    four_bit: float = 0.5 + 1 / 64 + 4 / (64 * 256)
    four_bit_block: int = 64
    vllm_process: int = 480 * 2**20
    process: int = 480 * 2**20
    four_bit_process: int = 80 * 2**20
    gpu_process: int = 0
    slack: float = 1.05


COEFFICIENTS = Coefficients()


@dataclass(frozen=True, slots=True)
class PairLength:
    """Tokens of a pair, or an upper bound."""

    prompt: int
    chosen: int
    rejected: int

    @property
    def tokens(self) -> int:
        """Tokens of the pair, with the prompt counted once."""
        return self.prompt + self.chosen + self.rejected


@dataclass(frozen=True, slots=True)
class Estimate:
    """Peak bytes of a run, by part.

    Attributes:
        weights: The base model, the reference of full fine-tuning, the merged copy of the matrices if every
            step samples with the engine's decoder, and a reward model, assumed to be as large as the base.
        adapter: LoRA weights, and PPO's value head.
        optimiser: AdamW's two moments.
        gradients: Gradients of all trained weights.
        activations: What the forward pass saves for the backward pass in the largest micro-batch.
        kv_cache: Keys and values while responses are sampled in training or in an evaluation; includes the
            merged copy if only evaluations sample.
        head: Chunks of logits, and the states that PPO's value head reads, in float32.
        process: Python and its libraries.
        rollout: vLLM's copy of the weights, its keys and values, and on a CPU its libraries, if it samples.
        loading: The model as its files have it, while it is read to be held in 4 bits; a GPU never has it.
    """

    weights: int
    adapter: int
    optimiser: int
    gradients: int
    activations: int
    kv_cache: int
    head: int
    process: int
    rollout: int = 0
    loading: int = 0

    @property
    def total(self) -> int:
        """The peak."""
        return sum(self.at_once().values())

    def at_once(self) -> dict[str, int]:
        """The parts that add up to the peak, by name.

        Sampling ends before the forward pass begins, so only the larger of the two counts; and loading ends
        before anything is trained.
        """
        later = "kv_cache" if self.kv_cache <= self.activations else "activations"
        lasting = {"weights": self.weights, "process": self.process}
        training = {n: size for n, size in self.parts().items() if n not in (later, "loading")}
        reading = lasting | {"loading": self.loading}
        return max(training, reading, key=lambda parts: sum(parts.values()))

    def parts(self) -> dict[str, int]:
        """Bytes by name, in order, without the total."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, slots=True)
class Load:
    """Tokens of the largest micro-batch, summed over its pairs.

    Attributes:
        pairs: Number of pairs.
        prompts: Tokens of the prompts.
        answers: Tokens of the stored answers that the method reads.
        sampled: Tokens of the sampled responses, if none ends early.
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
    amx: bool = False,
    using: Coefficients = COEFFICIENTS,
) -> Estimate:
    """Estimate the peak memory of a run.

    Args:
        lengths: Lengths of the run's pairs, at least of the longest; None means the configured maxima.
        gpu: Whether it runs on a GPU, where automatic precision is bfloat16. On a CPU it counts as float32,
            which needs more.
        amx: Whether a CPU multiplies bfloat16 in hardware. False if that is unknown; bfloat16 then needs
            more.
    """
    load = heaviest(config, lengths)
    half = config.precision is Precision.BFLOAT16 or (config.precision is Precision.AUTO and gpu)
    # bytes per number of activations, which stay float32 on a CPU over frozen bfloat16 matrices
    number = 2 if half and (gpu or config.lora_r == 0 or config.load_in_4bit) else 4
    weights, adapter, trained = _weights(shape, config, using, half=half, gpu=gpu)
    if config.loads_reward_model:
        weights += (2 if half else 4) * shape.parameters
    return Estimate(
        weights=weights,
        adapter=adapter,
        optimiser=8 * trained,
        gradients=4 * trained,
        activations=_activations(shape, config, load, number, using, amx=half and amx),
        kv_cache=_kv_cache(shape, config, load, number, using, half=half, gpu=gpu),
        head=_head(shape, load, using, in_blocks=number == 4 and config.lora_r > 0 and not gpu)
        + 4 * load.sampled * _value_head(shape, config),
        process=_process(config, using, gpu=gpu),
        rollout=_rollout(shape, config, 2 if half else 4, using, gpu=gpu),
        loading=0 if gpu else _loading(shape, config, half=half),
    )


def heaviest(config: TrainConfig, lengths: Sequence[PairLength] | None) -> Load:
    """The micro-batch of the longest pairs, with lengths capped at the configured maxima.

    A run leaves out pairs with longer answers; here they count as pairs of the maximal length.
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
        answers=sum(sum(config.answers_read(pair.chosen, pair.rejected)) for pair in batch),
        sampled=len(batch) * own,
    )


def _weights(
    shape: ModelShape, config: TrainConfig, using: Coefficients, *, half: bool, gpu: bool
) -> tuple[int, int, int]:
    """Bytes of the base weights and of the adapter, and the number of trained parameters."""
    if config.lora_r == 0:
        cast = 2 * shape.linear_parameters if half else 0  # autocast caches cast weights
        head = _value_head(shape, config)
        # the policy and the frozen reference
        return 8 * shape.parameters + cast, 4 * head, shape.parameters + head
    trained = shape.adapted(config.lora_target_modules)[1] * config.lora_r + _value_head(shape, config)
    copy = _merged(shape, config, using, half=half, gpu=gpu) if config.decodes_online else 0
    return _frozen(shape, config, using, 2 if half else 4) + copy, 4 * trained, trained


def _loading(shape: ModelShape, config: TrainConfig, *, half: bool) -> int:
    """Bytes of the weights before 4 bits hold them, while they are read, or as a reward model is written."""
    if not config.load_in_4bit:
        return 0
    whole = is_run_model(config.model_name_or_path) or not config.method.writes
    return (2 if half else 4 if whole else shape.stored) * shape.parameters


def _process(config: TrainConfig, using: Coefficients, *, gpu: bool) -> int:
    """Bytes of the libraries, or of the CUDA context."""
    if gpu:
        return using.gpu_process
    return using.process + (using.four_bit_process if config.load_in_4bit else 0)


def _frozen(shape: ModelShape, config: TrainConfig, using: Coefficients, number: int) -> int:
    """Bytes of the frozen weights of a run with LoRA, at ``number`` bytes for each that is not in 4 bits."""
    if not config.load_in_4bit:
        return number * shape.parameters
    packed = shape.four_bit_parameters
    expanded = (number + 4 / using.four_bit_block) * shape.largest_matrix  # one at a time, with its scales
    return round(using.four_bit * packed + expanded) + number * (shape.parameters - packed)


def _value_head(shape: ModelShape, config: TrainConfig) -> int:
    """Parameters of PPO's value head."""
    return shape.hidden if Need.VALUES in config.needs else 0


def _merged(shape: ModelShape, config: TrainConfig, using: Coefficients, *, half: bool, gpu: bool) -> int:
    """Bytes of the merged copy of the adapted matrices, which exists on a CPU during sampling."""
    if half or gpu or config.lora_r == 0 or config.load_in_4bit or shape.family in using.unmerged:
        return 0
    return 4 * shape.adapted(config.lora_target_modules)[0]


def _activations(
    shape: ModelShape, config: TrainConfig, load: Load, number: int, using: Coefficients, *, amx: bool
) -> int:
    """Bytes saved for the backward pass, and its working memory."""
    adapted = config.lora_r > 0
    remade = adapted and number == 4 and shape.family in using.remade
    narrow = remade and amx and not shape.biased and adapts_gates(config.lora_target_modules)
    a_layer = _saved_a_layer(shape, number, using, adapted=adapted, remade=remade, narrow=narrow)
    tokens = load.prompts + load.answers + load.sampled
    scores = 4 * using.scores * shape.heads * _attended(load) if shape.softcapped else 0.0
    saved = shape.layers * (tokens * a_layer + scores)
    if config.gradient_checkpointing:
        kept = using.checkpointed * tokens * shape.hidden + 2 * load.prompts * shape.kv_dim
        saved = number * shape.layers * kept
    if config.decodes_online:  # gradients of the prompts' keys and values, which wait for the prompts' pass
        saved += number * shape.layers * 2 * load.prompts * shape.kv_dim
    at_once = using.recomputed if config.gradient_checkpointing else using.workspace
    return round(using.slack * (saved + at_once * (tokens * a_layer + scores)))


def _attended(load: Load) -> float:
    """Attended keys summed over all tokens, assuming equal pairs."""
    if not load.pairs:
        return 0.0
    answers = load.answers + load.sampled
    prompt, answer = load.prompts / load.pairs, load.answers / load.pairs / 2
    return load.prompts * prompt + answers * (prompt + answer)


def _saved_a_layer(
    shape: ModelShape, number: int, using: Coefficients, *, adapted: bool, remade: bool, narrow: bool
) -> float:
    """Bytes saved per token and layer."""
    wide = using.narrow_wide if narrow else using.remade_wide if remade else using.wide
    numbers = (
        (using.remade_hidden if remade else using.hidden) * shape.hidden
        + 2 * using.attention * (shape.q_dim + shape.kv_dim)
        + wide * shape.intermediate * shape.experts_a_token
    )
    family = using.families.get(shape.family, using.other)
    in_half = family.with_lora if adapted else family.bfloat16
    return number * numbers * (family.float32 if number == 4 else in_half)


def _kv_cache(
    shape: ModelShape,
    config: TrainConfig,
    load: Load,
    number: int,
    using: Coefficients,
    *,
    half: bool,
    gpu: bool,
) -> int:
    """Bytes of keys and values for the samples of a training step or of an evaluation, whichever is more."""
    prompts = min(config.eval_prompts, using.held_out_at_once)
    evaluation = prompts * (config.max_prompt_length + config.max_completion_length)
    training = load.prompts + load.sampled if config.decodes_online else 0
    found = max(evaluation, training) * 2 * shape.kv_dim * shape.layers * number
    now_and_then = evaluation and not config.decodes_online
    return found + (_merged(shape, config, using, half=half, gpu=gpu) if now_and_then else 0)


def _rollout(shape: ModelShape, config: TrainConfig, number: int, using: Coefficients, *, gpu: bool) -> int:
    """Bytes of vLLM beside the run, at ``number`` bytes for a weight, a key or a value."""
    if not config.samples_with_vllm:
        return 0
    held = number * shape.parameters + cache_bytes(shape, config, number)
    return held + (0 if gpu else using.vllm_process)


def _head(shape: ModelShape, load: Load, using: Coefficients, *, in_blocks: bool) -> int:
    """Bytes of the chunks of float32 logits, and of what the head saves per scored token."""
    rows = load.answers + load.sampled
    elements = using.block_elements if in_blocks and not shape.softcapped else using.chunk_elements
    chunk = min(elements, rows * shape.vocab)
    return round(4 * (using.chunk_copies * chunk + using.head_hidden * rows * shape.hidden))


def format_bytes(count: float) -> str:
    """Formatted bytes: `512 MiB`, `3.1 GiB`."""
    if count >= 100 * GIB:
        return f"{count / GIB:,.0f} GiB"
    if count >= 0.995 * GIB:
        return f"{count / GIB:.1f} GiB"
    if count >= 2**20:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**10:.0f} KiB" if count else "0"
