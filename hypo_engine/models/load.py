"""Safe loading of base models and tokenizers: safetensors weights, no remote code, no dropout.

Every failure becomes a ModelError whose message is one sentence with a remedy.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypo_engine.config import Precision, PromptStyle
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.cpu.heap import return_large_tensors
from hypo_engine.errors import ModelError
from hypo_engine.files.check import CONTEXT, HARMLESS, check_model_files, folder_finder, other_weights
from hypo_engine.files.demo import DEMO_NAME, DEMO_UPSTREAM, demo_folder
from hypo_engine.files.tokenizer import refuse_larger
from hypo_engine.files.weights import sha256
from hypo_engine.forward.four_bit import require_bitsandbytes
from hypo_engine.forward.mixed import keep_activations_float
from hypo_engine.forward.trial import check_finite, check_sound, vocabulary_size
from hypo_engine.models.adapters import adapter_identity, merge_adapters
from hypo_engine.models.linear_layers import hold_in_four_bit
from hypo_engine.models.untrusted import read_config, refuse_adapter_repository

_WRITTEN_BY = frozenset({"transformers_version", "_name_or_path"})
"""Fields of config.json that describe its origin, not the model."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def default_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_model(name: str, models_dir: Path) -> str:
    """Resolve the name of a base model to a folder or hub id.

    Args:
        name: ``demo``, a local folder, or a hub id.
        models_dir: Where the demo model is unpacked.

    Returns:
        A folder's path or a hub id.

    Raises:
        ModelError: the path is not a folder, or the files show that the model cannot be used.
    """
    if name == DEMO_NAME:
        return str(demo_folder(models_dir))
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_model_files(name, folder_finder(folder), whole=True, style=PromptStyle.PLAIN)
        return str(folder.resolve())
    if name.startswith(("/", "./", "../", "~")) or "\\" in name or name.count("/") > 1:
        raise ModelError(f"There is no folder {name!r}; give a model's folder, a hub id, or `demo`.")
    return name


def published_name(name: str) -> str:
    """The base model's name as written into an exported adapter."""
    return DEMO_UPSTREAM if name == DEMO_NAME else name


def load_tokenizer(resolved: str) -> Any:
    """Load a model's tokenizer; ``resolved`` comes from :func:`resolve_model`.

    Raises:
        ModelError: it cannot be loaded or has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(lambda: AutoTokenizer.from_pretrained(resolved, trust_remote_code=False), resolved)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {resolved!r} has no end-of-sequence token; set eos_token and save it again."
        )
    return tokenizer


def settled(precision: Precision, device: torch.device, *, frozen: bool) -> Precision:
    """What AUTO stands for here: bfloat16 where it is faster, else float32. Others are left as they are.

    That is a GPU, and for frozen weights a CPU with AMX. Weights that adapters are merged into do not count
    as frozen, because a merged weight loses most of a small update when it is rounded. Neither do weights
    that are held in 4 bits, which no kernel for AMX reads.
    """
    if precision is not Precision.AUTO:
        return precision
    faster = device.type == "cuda" or (frozen and is_fast())
    return Precision.BFLOAT16 if faster else Precision.FLOAT32


def weights_dtype(precision: Precision, device: torch.device, *, frozen: bool = True) -> torch.dtype:
    """The dtype that a model computes its products in, which is that of frozen weights."""
    half = settled(precision, device, frozen=frozen) is Precision.BFLOAT16
    return torch.bfloat16 if half else torch.float32


def stored_dtype(resolved: str) -> torch.dtype:
    """The data type of a model's files, as its configuration states it; float32 if it does not."""
    dtype = getattr(_load(lambda: read_config(resolved), resolved), "dtype", None)
    return dtype if dtype in _DTYPES else torch.float32


def load_model(
    resolved: str, *, dtype: torch.dtype, device: torch.device, adapters: Sequence[Path] = ()
) -> Any:
    """Load a causal language model in evaluation mode with every dropout off.

    Args:
        resolved: A folder or a hub id, from :func:`resolve_model`.
        adapters: Folders of LoRA adapters that are merged into the weights, in this order.

    Raises:
        ModelError: it does not exist, is not a causal language model, has no safetensors weights, has
            missing or unexpected weights, needs remote code, has an adapter, or computes non-finite
            numbers; or an adapter does not fit it.
    """
    model = _read_model(resolved, dtype=dtype, adapters=adapters).to(device)
    check_sound(model, resolved)
    return model


def _read_model(resolved: str, *, dtype: torch.dtype, adapters: Sequence[Path]) -> Any:
    """The model on the CPU, adapters merged, before it has run."""
    from transformers import AutoModelForCausalLM

    refuse_adapter_repository(resolved)
    config = _load(lambda: read_config(resolved), resolved)
    check_causal(config, resolved)
    _silence_dropout_settings(config)
    model, told = _load(
        lambda: AutoModelForCausalLM.from_pretrained(
            resolved,
            config=config,
            dtype=dtype,
            attn_implementation=None,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        ),
        resolved,
    )
    check_whole(told, resolved)
    disable_dropout(model)
    merge_adapters(model, adapters)
    return model.eval()


def load_frozen(
    resolved: str,
    *,
    precision: Precision,
    device: torch.device,
    adapters: Sequence[Path] = (),
    in_4bit: bool = False,
) -> Any:
    """Load a model whose weights are not trained, as :func:`load_model`; bfloat16 only stores them on a CPU.

    Activations are float32 there, if the architecture allows it (:mod:`hypo_engine.forward.mixed`).

    Args:
        in_4bit: Hold the weights of linear layers in 4 bits.

    Raises:
        ConfigError: 4 bits can hold no layer, or need bitsandbytes, which is missing.
    """
    if in_4bit:
        return _load_in_4bit(resolved, precision, device, adapters)
    dtype = weights_dtype(precision, device, frozen=not adapters)
    model = load_model(resolved, dtype=dtype, device=device, adapters=adapters).requires_grad_(False)
    if dtype == torch.bfloat16 and device.type == "cpu":
        keep_activations_float(model)
    return model


def _load_in_4bit(resolved: str, precision: Precision, device: torch.device, adapters: Sequence[Path]) -> Any:
    """Load a frozen model on the CPU in the data type of its files, then move it in 4 bits to its device."""
    require_bitsandbytes("load_in_4bit")
    return_large_tensors()
    dtype = weights_dtype(precision, device, frozen=False)
    stored = torch.float32 if adapters else stored_dtype(resolved)
    model = _read_model(resolved, dtype=dtype if dtype is torch.bfloat16 else stored, adapters=adapters)
    check_finite(model, resolved)  # 4 bits have no NaN
    hold_in_four_bit(model, dtype=dtype, device=device)
    check_sound(model, resolved)
    return model.requires_grad_(False)


def _load(call: Callable[[], Any], resolved: str) -> Any:
    """Call a transformers loader and turn its errors into a ModelError."""
    try:
        return call()
    except (MemoryError, torch.OutOfMemoryError, ModelError):
        raise
    except Exception as error:
        raise ModelError(_load_failure(resolved, error)) from error


def _load_failure(resolved: str, error: Exception) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return (
            f"{resolved!r} needs its own code to run, which is never executed; choose a model "
            "that transformers knows."
        )
    if "safetensors" in text and not Path(resolved).is_dir():
        return (
            f"{resolved!r} has no safetensors weights; choose a model that has them, or convert "
            "it with save_pretrained."
        )
    if Path(resolved).is_dir():
        first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
        return f"{resolved!r} cannot be read ({first[:200]}); check that the folder is complete."
    return (
        f"The base model {resolved!r} was not found: it is neither a folder nor a model that the "
        "hub provides; check the name, the network, and HF_TOKEN for gated models."
    )


def check_causal(config: Any, resolved: str) -> None:
    """Refuse configurations of models that are not causal language models."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if config.is_encoder_decoder or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(
            f"{resolved!r} ({config.model_type}) is not a causal language model; "
            "choose one that writes text from left to right."
        )


def check_whole(told: Mapping[str, Any], resolved: str) -> None:
    """Refuse weights that do not match the model, because missing ones would be random.

    Args:
        told: transformers' loading report: ``missing_keys``, ``unexpected_keys``, ``mismatched_keys``.
    """
    others = sorted(name for name in told["unexpected_keys"] if not HARMLESS.search(name))
    shapes = sorted(str(key[0] if isinstance(key, tuple) else key) for key in told.get("mismatched_keys", ()))
    parts = {"missing": sorted(told["missing_keys"]), "unknown to it": others, "of another size": shapes}
    if any(parts.values()):
        raise other_weights(resolved, parts)


def check_vocabulary(model: Any, tokenizer: Any, name: str, ids: Iterable[int] = ()) -> None:
    """Refuse a tokenizer with tokens beyond the embedding, and token ids beyond it.

    Special tokens that no text maps to (image placeholders, for example) may lie beyond it.

    Args:
        ids: Token ids in use.
    """
    refuse_larger(
        name,
        size=vocabulary_size(model),
        known=set(tokenizer.get_vocab().values()),
        special={i for i, token in tokenizer.added_tokens_decoder.items() if token.special},
        used={tokenizer.bos_token_id, tokenizer.eos_token_id, *ids} - {None},
    )


def _silence_dropout_settings(config: Any) -> None:
    """Set every dropout probability of a configuration to 0, including functional attention dropout."""
    for name, value in list(vars(config).items()):
        if isinstance(value, float) and ("dropout" in name or name.endswith(("pdrop", "_drop"))):
            setattr(config, name, 0.0)


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout of a model to 0: modules, and probabilities that layers store as numbers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and "dropout" in name:
                setattr(module, name, 0.0)


def context_limit(model: Any) -> int | None:
    """The model's context length in tokens; None if it is not stated."""
    config = model.config.get_text_config()
    found = [getattr(config, name, None) for name in CONTEXT]
    limits = [limit for limit in found if type(limit) is int and limit > 0]
    if not limits:
        return None
    table = next((m for n, m in model.named_modules() if n.endswith("embeddings.position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)  # RoBERTa's positions start after this one
    return limits[0] - (padding + 1 if isinstance(padding, int) else 0)


def stop_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """All token ids that end a response: of the tokenizer, the configuration and generation_config.

    No other setting of generation_config (temperature, top_p, penalties) is used.
    """
    found: set[int] = {tokenizer.eos_token_id}
    for source in (model.config, getattr(model, "generation_config", None)):
        ids = getattr(source, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def model_identity(resolved: str, model: Any, adapters: Sequence[Path] = ()) -> str:
    """A text that identifies the base model's weights and configuration.

    A folder is identified by the content of its files, not by its path; reading them takes about two
    seconds per gigabyte. A hub model is identified by its commit.

    Args:
        adapters: Folders of adapters that were merged into it.
    """
    whole = _whole_identity(resolved, model)
    merged = [adapter_identity(folder) for folder in adapters]
    return json.dumps([whole, *merged]) if merged else whole


def _whole_identity(resolved: str, model: Any) -> str:
    folder = Path(resolved)
    if not folder.is_dir():
        commit = getattr(model.config, "_commit_hash", None)
        return f"{resolved}@{commit}" if commit else resolved
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = {name: value for name, value in config.items() if name not in _WRITTEN_BY}
    return json.dumps(
        [config, [sha256(file) for file in sorted(folder.glob("*.safetensors"))]], sort_keys=True
    )
