"""A model as one GGUF file for llama.cpp, with its weights in the data type that they have."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from hypo_engine.errors import ModelError
from hypo_engine.files.gguf_tokenizer import GgufTokenizer


@dataclass(frozen=True, slots=True)
class _Family:
    """How an architecture is written.

    Attributes:
        name: Its name in GGUF.
        interleaved: Whether llama.cpp rotates neighbouring dimensions of queries and keys, where transformers
            rotates the two halves.
        biased: Whether queries, keys and values have biases.
    """

    name: str
    interleaved: bool = False
    biased: bool = False


_FAMILIES: Final = {
    "llama": _Family("llama", interleaved=True),
    "mistral": _Family("llama", interleaved=True),
    "qwen2": _Family("qwen2", biased=True),
    "qwen3": _Family("qwen3"),
}
"""By ``model_type`` of config.json."""


def check_writable(config: Any) -> None:
    """Refuse a model whose configuration cannot be written as GGUF.

    Raises:
        ModelError: names the reason.
    """
    family = _FAMILIES.get(config.model_type)
    if family is None:
        raise _unwritable(
            f"{config.model_type} is not among the architectures written here ({', '.join(_FAMILIES)})"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind != "default" or rope.get("partial_rotary_factor", 1) != 1:
        raise _unwritable(f"its rotary positions are scaled ({kind})")
    windows = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if windows or (config.model_type == "mistral" and getattr(config, "sliding_window", None)):
        raise _unwritable("its attention has a sliding window")
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        raise _unwritable("its linear layers have biases that the format does not describe")
    if config.hidden_act != "silu":
        raise _unwritable(f"its activation is {config.hidden_act}")


def write_gguf(model: Any, tokenizer: Any, vocabulary: GgufTokenizer, path: Path, *, name: str) -> None:
    """Write a model with its tokenizer to a file.

    Args:
        model: A causal language model that :func:`check_writable` accepts.
        tokenizer: Its tokenizer, for special tokens and chat template.
        name: The model's name for people.

    Raises:
        ModelError: a weight has no name in GGUF.
    """
    from gguf import GGUFWriter

    family = _FAMILIES[model.config.model_type]
    writer = GGUFWriter(path, family.name)
    _describe(writer, model.config, name, _file_type(model.dtype))
    _describe_tokenizer(writer, tokenizer, vocabulary)
    tensors = dict(_named(model, family))
    for tensor_name, weight in tensors.items():
        kind, size = _kind(weight), weight.element_size()
        shape = (*weight.shape[:-1], weight.shape[-1] * size)
        writer.add_tensor_info(tensor_name, shape, np.dtype(np.uint8), weight.numel() * size, raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for weight in tensors.values():
            writer.write_tensor_data(_bytes(weight))
    finally:
        writer.close()


def _describe(writer: Any, config: Any, name: str, file_type: Any) -> None:
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    writer.add_type("model")
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(file_type)


def _describe_tokenizer(writer: Any, tokenizer: Any, vocabulary: GgufTokenizer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    named = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: tokenizer.eos_token_id,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, token in named.items():
        if token is not None:
            add(token)
    writer.add_add_bos_token(_adds_bos(tokenizer))
    writer.add_add_eos_token(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _named(model: Any, family: _Family) -> Iterator[tuple[str, Tensor]]:
    """The weights by their names in GGUF, with the rows in its order."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    config = model.config
    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == family.name)
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    heads = {".attn_q.": config.num_attention_heads, ".attn_k.": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        written = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if written is None:
            raise _unwritable(f"its weight {name} has no name in the format")
        weight = weight.detach().cpu()
        turned = next((count for part, count in heads.items() if part in written), 0)
        if family.interleaved and turned:
            weight = _interleaved(weight, turned)
        yield written, weight.float() if weight.dim() == 1 else weight


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys, reordered so that the two dimensions of a rotation are neighbours."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)


def _kind(weight: Tensor) -> Any:
    from gguf import GGMLQuantizationType as Kind

    return {torch.float32: Kind.F32, torch.float16: Kind.F16, torch.bfloat16: Kind.BF16}[weight.dtype]


def _file_type(dtype: torch.dtype) -> Any:
    from gguf import LlamaFileType as Type

    return {
        torch.float32: Type.ALL_F32,
        torch.float16: Type.MOSTLY_F16,
        torch.bfloat16: Type.MOSTLY_BF16,
    }[dtype]


def _bytes(weight: Tensor) -> Any:
    """The weight's bytes, as an array."""
    return weight.contiguous().view(torch.uint8).numpy()


def _unwritable(why: str) -> ModelError:
    return ModelError(
        f"The model cannot be written as GGUF, because {why}; export it with --merged, and convert that "
        "folder with llama.cpp's own script."
    )
