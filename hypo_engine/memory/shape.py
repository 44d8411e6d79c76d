"""A model's sizes from its config.json, as input to the memory estimate. No torch here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypo_engine.errors import ModelError

_NAMES: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "vocab": ("vocab_size",),
}
"""Names of the required sizes, by family."""

_PLAIN_MLP = frozenset({"gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2"})
"""Families whose feed-forward layers have two matrices; all others are assumed to have a gate as well."""

_TRANSPOSED = frozenset({"gpt2"})
"""Families whose matrices are no plain linear layers, which 4 bits cannot hold."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a causal language model.

    Attributes:
        family: ``model_type`` of its config.json.
        intermediate: Width of a feed-forward layer, or of one expert.
        tied: Whether the output head is the embedding table.
        gated: Whether a feed-forward layer multiplies by a gate.
        positions: Learned positions; 0 for rotary ones.
        biased: Whether feed-forward layers have biases besides the matrices.
        softcapped: Whether attention scores are soft-capped, so that they are saved for the backward pass.
        experts: Experts per layer; 1 without a mixture.
        experts_a_token: Experts that each token runs through.
        stored: Bytes of a number in the model's files, as its configuration states them.
    """

    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    gated: bool
    positions: int = 0
    biased: bool = False
    softcapped: bool = False
    experts: int = 1
    experts_a_token: int = 1
    stored: int = 4

    @property
    def q_dim(self) -> int:
        """Width of a token's queries."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of a token's keys, and of its values."""
        return self.kv_heads * self.head_dim

    def linear_layers(self) -> Iterator[tuple[tuple[str, ...], int, int, int]]:
        """The matrices of one layer: their possible names, inputs, outputs, and count."""
        hidden, wide, many = self.hidden, self.intermediate, self.experts
        if self.family in ("gpt2", "gpt_neox"):
            yield ("c_attn", "query_key_value"), hidden, self.q_dim + 2 * self.kv_dim, 1
        else:
            yield ("q_proj",), hidden, self.q_dim, 1
            yield ("k_proj",), hidden, self.kv_dim, 1
            yield ("v_proj",), hidden, self.kv_dim, 1
        yield ("o_proj", "c_proj", "dense", "out_proj"), self.q_dim, hidden, 1
        if self.gated:
            yield ("gate_proj",), hidden, wide, many
        yield ("up_proj", "c_fc", "dense_h_to_4h", "fc1"), hidden, wide, many
        yield ("down_proj", "c_proj", "dense_4h_to_h", "fc2"), wide, hidden, many

    @property
    def linear_parameters(self) -> int:
        """Parameters of all layers' matrices, without embeddings and output head."""
        a_layer = sum(inputs * outputs * many for _, inputs, outputs, many in self.linear_layers())
        return a_layer * self.layers

    @property
    def four_bit_parameters(self) -> int:
        """Parameters of all layers' matrices that 4 bits can hold, which are all but those of experts."""
        if self.family in _TRANSPOSED:
            return 0
        a_layer = (inputs * outputs for _, inputs, outputs, many in self.linear_layers() if many == 1)
        return sum(a_layer) * self.layers

    @property
    def largest_matrix(self) -> int:
        """Parameters of the largest matrix of a layer."""
        return max(inputs * outputs for _, inputs, outputs, _ in self.linear_layers())

    @property
    def parameters(self) -> int:
        """Parameters of the whole model, without biases, which are few."""
        tables = self.vocab * self.hidden * (1 if self.tied else 2) + self.positions * self.hidden
        norms = (2 * self.layers + 1) * self.hidden
        return self.linear_parameters + tables + norms

    def adapted(self, target_modules: str) -> tuple[int, int]:
        """Totals over all matrices that LoRA adapts: (parameters, inputs plus outputs).

        The second times the rank is the adapter's number of parameters.
        """
        wanted = {name.strip() for name in target_modules.split(",")}
        found = [
            (inputs * outputs * many, (inputs + outputs) * many)
            for names, inputs, outputs, many in self.linear_layers()
            if target_modules == "all-linear" or wanted.intersection(names)
        ]
        numbers, sides = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0)
        return numbers * self.layers, sides * self.layers


def adapts_gates(target_modules: str) -> bool:
    """Whether LoRA adapts all three matrices of a feed-forward layer with a gate."""
    named = {name.strip() for name in target_modules.split(",")}
    return named == {"all-linear"} or named >= {"gate_proj", "up_proj", "down_proj"}


def read_shape(config: Mapping[str, Any]) -> ModelShape:
    """Read the sizes from a config.json.

    Raises:
        ModelError: a size is missing or is not a positive number.
    """
    inner = config.get("text_config")
    values = {**config, **inner} if isinstance(inner, Mapping) else dict(config)
    sizes = {name: _size(values, name, spellings) for name, spellings in _NAMES.items()}
    family = str(values.get("model_type", ""))
    hidden, heads = sizes["hidden"], sizes["heads"]
    experts = _optional(values, "num_local_experts", "num_experts", "n_routed_experts") or 1
    wide = _optional(values, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * hidden
    if experts > 1:
        wide = _optional(values, "moe_intermediate_size") or wide
    stored = str(values.get("dtype") or values.get("torch_dtype") or "")
    return ModelShape(
        family=family,
        **sizes,
        kv_heads=_kv_heads(values) or heads,
        head_dim=_optional(values, "head_dim") or hidden // heads,
        intermediate=wide,
        tied=bool(values.get("tie_word_embeddings", family != "gpt_neox")),
        gated=family not in _PLAIN_MLP,
        positions=_optional(values, "n_positions") or 0 if family == "gpt2" else 0,
        biased=bool(values.get("mlp_bias")),
        softcapped=bool(values.get("attn_logit_softcapping")),
        experts=experts,
        experts_a_token=_optional(values, "num_experts_per_tok") or 1,
        stored=2 if stored.rpartition(".")[2] in ("bfloat16", "float16") else 4,
    )


def _kv_heads(values: Mapping[str, Any]) -> int | None:
    return (
        1 if values.get("multi_query") is True else _optional(values, "num_key_value_heads", "num_kv_heads")
    )


def _size(values: Mapping[str, Any], name: str, spellings: tuple[str, ...]) -> int:
    if (found := _optional(values, *spellings)) is None:
        raise ModelError(f"The model's config.json does not say {spellings[0]}, so its {name} is not known.")
    return found


def _optional(values: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
