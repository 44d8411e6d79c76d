"""Lower bound of a step's time: the necessary work at the machine's measured rates. Does not use torch.

The bound counts each prompt once, each completion once, and the head on completion tokens. A multiply and an
add are two operations. It omits the optimiser, norms, activations and the merging of an adapter, which lowers
the bound. It includes about one per cent that an engine could save: the last layer for prompt tokens and the
first layer's input gradient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.jobs import Job

PHASES = ("forward", "prefix", "completions", "head", "reference", "decode", "backward", "optimiser")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a Llama-like model.

    Attributes:
        linears: (outputs, inputs) of a layer's linear maps.
        attention_width: Number of heads times head size.
        cache_width: Cached numbers per token and layer, keys and values together.
    """

    layers: int
    linears: tuple[tuple[int, int], ...]
    attention_width: int
    cache_width: int
    hidden: int
    vocabulary: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Sizes":
        """Sizes from a model's config.json.

        Raises:
            ValueError: the model is not Llama-like, so its operations are unknown.
        """
        if config.get("model_type") not in ("llama", "mistral", "qwen2"):
            raise ValueError(
                f"The bound is counted for Llama-like models, not for {config.get('model_type')!r}; "
                "give the folder of a llama, mistral or qwen2 model with --model."
            )
        hidden, inner, heads = (
            config["hidden_size"],
            config["intermediate_size"],
            config["num_attention_heads"],
        )
        size = config.get("head_dim") or hidden // heads
        queries, keys = heads * size, config.get("num_key_value_heads", heads) * size
        linears = (
            (queries, hidden),
            (keys, hidden),
            (keys, hidden),
            (hidden, queries),
            (inner, hidden),
            (inner, hidden),
            (hidden, inner),
        )
        return cls(config["num_hidden_layers"], linears, queries, 2 * keys, hidden, config["vocab_size"])

    @property
    def body(self) -> int:
        """Parameters of the body's linear maps."""
        return self.layers * sum(out * into for out, into in self.linears)

    @property
    def head(self) -> int:
        return self.hidden * self.vocabulary

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter on every linear map of the body."""
        return self.layers * sum(rank * (out + into) for out, into in self.linears)

    def attention(self, keys: float) -> float:
        """Operations of attention in a forward pass; ``keys`` is the total number over all queries."""
        return 4.0 * self.layers * self.attention_width * keys


@dataclass(frozen=True, slots=True)
class Work:
    """The necessary work of a phase: operations, and bytes to read."""

    operations: float
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.operations + other.operations, self.bytes + other.bytes)

    def seconds(self, rates: "Rates") -> float:
        """The minimum time, with arithmetic and memory access fully overlapped."""
        return max(self.operations / rates.operations, self.bytes / rates.bytes)


@dataclass(frozen=True, slots=True)
class Rates:
    """The machine's rates per second: operations in the model's matrix products, bytes read sequentially."""

    operations: float
    bytes: float


def step_work(sizes: Sizes, job: Job, *, rank: int, bytes_per_number: int = 4) -> dict[str, Work]:
    """The work of one step by phase. The reference of the stored pairs is assumed to be cached.

    Args:
        rank: LoRA's rank; used if ``job.tuning`` is ``lora``.
        bytes_per_number: Size of each weight and cache entry in decoding.
    """
    pairs, prompt, length, samples = job.pairs, job.prompt, job.completion, job.samples
    prefix_tokens, completion_tokens = pairs * prompt, pairs * (2 + samples) * length
    prefix_attention = sizes.attention(pairs * _causal(prompt))
    completion_attention = sizes.attention(prompt * length + _causal(length))
    completions_attention = pairs * (2 + samples) * completion_attention
    head = 2.0 * sizes.head
    forward = 2.0 * sizes.body
    full = job.tuning == "full"
    adapter = 0.0 if full else 4.0 * sizes.adapter(rank)  # its gradients; the adapter itself is merged
    backward = (
        (prefix_tokens + completion_tokens) * ((2 if full else 1) * forward + adapter)
        + 2 * prefix_attention
        + 2 * completions_attention
    )
    prefix = Work(forward * prefix_tokens + prefix_attention)
    completions = Work(forward * completion_tokens + completions_attention)
    # without samples, prompts and answers run in one pass
    parts = {"prefix": prefix, "completions": completions} if samples else {"forward": prefix + completions}
    work = parts | {
        "head": Work(head * completion_tokens * (3 if full else 2)),
        "backward": Work(backward),
    }
    if samples:
        sampled = pairs * samples * length
        work["reference"] = Work(
            forward * (prefix_tokens + sampled)
            + prefix_attention
            + pairs * samples * completion_attention
            + head * sampled
        )
        work["decode"] = decode_work(
            sizes,
            prompts=pairs,
            samples=samples,
            prompt=prompt,
            length=length,
            bytes_per_number=bytes_per_number,
        )
    return work


def decode_work(
    sizes: Sizes, *, prompts: int, samples: int, prompt: int, length: int, bytes_per_number: int = 4
) -> Work:
    """The work of decoding after the prompt.

    It reads all weights once per position, and each prompt's cache once for all its samples. The first token
    comes from the prompt's own pass.
    """
    rows, positions = prompts * samples, length - 1
    weights = float(sizes.body + sizes.head)
    cached_tokens = positions * prompts * prompt + rows * _causal(positions)
    seen_by_queries = rows * (positions * prompt + _causal(positions))
    return Work(
        operations=2.0 * weights * rows * positions + sizes.attention(seen_by_queries),
        bytes=bytes_per_number * (weights * positions + sizes.layers * sizes.cache_width * cached_tokens),
    )


def bound_seconds(work: Mapping[str, Work], rates: Rates) -> float:
    """The minimum time of a whole step."""
    return sum(part.seconds(rates) for part in work.values())


def _causal(length: int) -> float:
    """Total number of keys over the queries of a causal sequence."""
    return length * (length + 1) / 2
