"""Checks from a model's files whether it can be trained. No torch here.

Called when a run is launched, and again when the run loads its model. Problems that the files do not show
are found on loading: :mod:`hypo_engine.models.load` and :mod:`hypo_engine.forward.trial`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hypo_engine.chat.template import ChatTemplate
from hypo_engine.choices import PromptStyle
from hypo_engine.errors import ModelError
from hypo_engine.files.tokenizer import ANY_OF, read_tokenizer
from hypo_engine.files.weights import INDEX, SINGLE, Find, some, stored_tensors

CONTEXT: Final = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "n_ctx",
    "context_length",
)
"""Names of the context length, by family."""

HARMLESS: Final = re.compile(
    r"(rotary_emb\.(inv_freq|cos_cached|sin_cached)|\.attn\.(masked_)?bias|attention\.(masked_)?bias"
    r"|position_ids)$|^(model\.)?(mtp|vision_tower|visual|vision_model|multi_modal_projector|audio_tower)\b"
)
"""Stored tensors that a text model does not load: tables that it computes itself, parts of other
modalities.
"""

_PICKLES: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json")

_ENCODERS: Final = frozenset(
    {
        "albert",
        "bert",
        "bert-generation",
        "big_bird",
        "camembert",
        "data2vec-text",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "ernie",
        "esm",
        "flaubert",
        "longformer",
        "megatron-bert",
        "mobilebert",
        "modernbert",
        "mpnet",
        "nomic_bert",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roformer",
        "xlm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xlnet",
    }
)
"""Families that are bidirectional unless their configuration says that they are decoders."""

_UNIFORM: Final = frozenset(
    {
        "bloom",
        "cohere",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "gptj",
        "granite",
        "llama",
        "mistral",
        "mixtral",
        "mpt",
        "olmo",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
"""Families whose layers all have the same tensors."""

MOST_LABELS: Final = 100_000
"""Largest number of labels; transformers builds two dictionaries of this size when it reads a
configuration.
"""

_LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_LAYER: Final = re.compile(r"^((?:.*?\.)?(?:layers|h|blocks))\.(\d+)\.(.+)$")
_PART_OF_LAYER: Final = re.compile(
    r"(self_attn|self_attention|attn|attention|mlp|block_sparse_moe|fc[12]|ln_|\w*norm)\b|ln_\d"
)
_EMBEDDING: Final = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in)\.weight$")
_HEAD: Final = re.compile(r"(^|\.)(lm_head|embed_out|output|head|decoder)\.weight$")
_WRAPPED: Final = re.compile(r"^(_orig_mod|module|base_model\.model)\.|\.base_layer\.|\.lora_[AB]\.")
_OTHER_HEADS: Final = re.compile(r"^(score|classifier|v_head|value_head|qa_outputs)\.")


def check_model_files(name: str, find: Find, *, whole: bool, style: PromptStyle = PromptStyle.AUTO) -> None:
    """Refuse a model whose files show that it cannot be used.

    Args:
        name: The model's name in errors.
        find: Returns the path of a file.
        whole: Whether all of its files must exist, as in a local folder.
        style: The prompt style; a chat template that is not used is not checked.

    Raises:
        ModelError: one sentence with the reason and the remedy.
    """
    if find("adapter_config.json") is not None:
        raise ModelError(
            f"{name!r} carries a LoRA adapter, so switching the adapter off would not give the reference; "
            "merge the adapter into its base model and use the merged folder."
        )
    config = read_model_config(name, find)
    _check_kind(config, name)
    tensors = stored_tensors(find, name, whole=whole)
    if tensors is not None:
        _check_tensors(config, tensors, name)
    elif whole and find(INDEX) is None:
        _refuse_without_weights(name, find)
    if whole and all(find(file) is None for file in ANY_OF):
        raise ModelError(f"{name!r} has no tokenizer; save the tokenizer in the model's folder as well.")
    tokenizer = read_tokenizer(find)
    size = _vocabulary(config, tensors or {})
    if size is not None:
        tokenizer.check_vocabulary(size, name)
    if tokenizer.chat_template and style is not PromptStyle.PLAIN:
        ChatTemplate(tokenizer, thinking=False)


def read_model_config(name: str, find: Find) -> dict[str, Any]:
    """A model's config.json, values of its text model first.

    Raises:
        ModelError: it is missing or cannot be read.
    """
    path = find("config.json")
    if path is None:
        raise ModelError(f"{name!r} has no config.json; give a folder that save_pretrained wrote.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"The config.json of {name!r} cannot be read; fetch the model again.") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(
            f"The config.json of {name!r} names no model_type; give a folder that save_pretrained wrote."
        )
    inner = config.get("text_config")
    if not isinstance(inner, dict):
        return config
    tied = any(part.get("tie_word_embeddings") is True for part in (config, inner))
    return {**config, **inner, **({"tie_word_embeddings": True} if tied else {})}


def configured_context(config: Mapping[str, Any]) -> int | None:
    """The context length in tokens by config.json; None if it is not stated."""
    return next((limit for key in CONTEXT if type(limit := config.get(key)) is int and limit > 0), None)


def not_causal(name: str, kind: str) -> ModelError:
    """The error for an encoder."""
    return ModelError(
        f"{name!r} ({kind}) is not a causal language model: its prediction for a token depends on "
        "later tokens; choose one that writes text from left to right."
    )


def quantised(name: str, method: str) -> ModelError:
    """The error for quantised weights."""
    return ModelError(
        f"{name!r} has quantised weights ({method}), which cannot be trained here; choose the "
        "same model with weights in bfloat16 or float32."
    )


def other_weights(name: str, parts: Mapping[str, list[str]]) -> ModelError:
    """The error for weights that do not match the model, with the names per kind of mismatch."""
    said = ", ".join(f"{len(names)} {what} ({some(names)})" for what, names in parts.items() if names)
    return ModelError(
        f"The weights of {name!r} are not those of its config.json: {said}. Save the whole causal "
        "language model again with save_pretrained, with adapters merged and without "
        "torch.compile's wrapper."
    )


def _check_kind(config: Mapping[str, Any], name: str) -> None:
    method = config.get("quantization_config") or config.get("compression_config")
    if method:
        said = method.get("quant_method") if isinstance(method, dict) else None
        raise quantised(name, str(said or "of an unknown kind"))
    labels = config.get("num_labels")
    if isinstance(labels, int | float) and not 0 <= labels <= MOST_LABELS:
        raise ModelError(
            f"The config.json of {name!r} has a num_labels of {labels:g}; a language model has "
            "none: remove the line, or fetch the model again."
        )
    kind = str(config["model_type"])
    if config.get("is_encoder_decoder") is True:
        raise ModelError(
            f"{name!r} ({kind}) is not a causal language model; choose one that writes text from left to "
            "right."
        )
    if kind in _ENCODERS and not (config.get("is_decoder") or config.get("causal")):
        raise not_causal(name, kind)


def _refuse_without_weights(name: str, find: Find) -> None:
    if any(find(pickle) is not None for pickle in _PICKLES):
        raise ModelError(
            f"{name!r} has only pickle weights, which can run code when read; "
            "convert them with save_pretrained, which writes safetensors."
        )
    raise ModelError(
        f"{name!r} has no safetensors weights ({SINGLE}, or {INDEX} and the files that it names); "
        "give a folder that save_pretrained wrote."
    )


def _check_tensors(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Refuse weights whose names or shapes do not match the configuration."""
    own = {tensor: shape for tensor, shape in tensors.items() if not HARMLESS.search(tensor)}
    unknown = [tensor for tensor in own if _WRAPPED.search(tensor) or _OTHER_HEADS.search(tensor)]
    missing, strange = _faults_of_layers(config, own)
    unknown += [tensor for tensor in strange if tensor not in unknown]
    resized = []
    if config["model_type"] in _UNIFORM:
        tables = [tensor for tensor in own if _EMBEDDING.search(tensor)]
        if not tables:
            missing.append("the embedding")
        resized = [t for t in tables if len(tables) == 1 and own[t][:1] != (config.get("vocab_size"),)]
        if config.get("tie_word_embeddings") is False and not any(map(_HEAD.search, own)):
            missing.append("lm_head.weight")
    if missing or unknown or resized:
        raise other_weights(
            name,
            {"missing": sorted(missing), "unknown to it": sorted(unknown), "of another size": resized},
        )


def _faults_of_layers(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The tensors that layers lack, and those that do not belong to them.

    A layer without any tensor is missing. In families with equal layers, a tensor that most layers have is
    missing from the others.
    """
    stacks: dict[str, dict[int, set[str]]] = {}
    for tensor in tensors:
        if found := _LAYER.match(tensor):
            stacks.setdefault(found[1], {}).setdefault(int(found[2]), set()).add(found[3])
    count = next((n for key in _LAYERS if type(n := config.get(key)) is int and n > 0), 0)
    if len(stacks) != 1 or count > 10_000:
        return [], []
    [(prefix, layers)] = stacks.items()
    missing = [f"{prefix}.{layer}" for layer in range(count) if layer not in layers]
    unknown: list[str] = []
    if config["model_type"] in _UNIFORM:
        for name in sorted(set[str]().union(*layers.values())):
            having = [layer for layer, own in layers.items() if name in own]
            usual = 2 * len(having) > len(layers) or _PART_OF_LAYER.match(name)
            lacking = [layer for layer in layers if layer not in having]
            missing += [f"{prefix}.{layer}.{name}" for layer in lacking if usual]
            unknown += [f"{prefix}.{layer}.{name}" for layer in having if not usual]
    return missing, unknown


def _vocabulary(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> int | None:
    """Rows of the embedding, as stored or as configured; None if unknown."""
    rows = [shape[0] for tensor, shape in tensors.items() if _EMBEDDING.search(tensor) and len(shape) == 2]
    if len(rows) == 1:
        return rows[0]
    size = config.get("vocab_size")
    return size if type(size) is int and size > 0 else None


def folder_finder(folder: Path) -> Find:
    """A finder of the files in a folder."""

    def find(file: str) -> Path | None:
        path = folder / file
        return path if path.is_file() else None

    return find
