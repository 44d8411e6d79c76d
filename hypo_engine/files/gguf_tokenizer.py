"""A tokenizer as GGUF metadata, from a model's tokenizer.json: byte-level BPE only. No torch here.

llama.cpp splits text by the name of a pre-tokenizer that it knows, so only those that have a name can be
written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hypo_engine.errors import ModelError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Types of tokens in GGUF."""

_COMMON: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_SPLITS: Final = {
    rf"{_WORDS}|\p{{N}}{_COMMON}": "qwen2",
    rf"{_WORDS}|\p{{N}}{{1,3}}{_COMMON}": "llama-bpe",
}
"""Regular expressions of pre-tokenizers, and their names in llama.cpp."""


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """The vocabulary of a GGUF file.

    Attributes:
        pre: The name of the pre-tokenizer.
        tokens: By id, as many as the embedding has rows.
        types: Of each token.
        merges: Two tokens with a space between.
    """

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]


def read_gguf_tokenizer(folder: Path, rows: int) -> GgufTokenizer:
    """Read the tokenizer of a model's folder.

    Args:
        rows: Rows of the embedding.

    Raises:
        ModelError: it is of a kind that cannot be written.
    """
    try:
        raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        model = raw["model"]
        known = {int(index): str(token) for token, index in model["vocab"].items()}
        added = {int(token["id"]): token for token in raw.get("added_tokens") or ()}
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unwritable("it has no tokenizer.json with a BPE vocabulary") from error
    pre = _pre_tokenizer(raw)
    known |= {index: str(token["content"]) for index, token in added.items()}
    if max(known, default=0) >= rows:
        raise _unwritable("its tokenizer has tokens beyond the embedding")
    tokens = [known.get(index, f"[PAD{index}]") for index in range(rows)]
    types = [_type(index, known, added) for index in range(rows)]
    return GgufTokenizer(pre, tokens, types, merges)


def _type(index: int, known: Mapping[int, str], added: Mapping[int, Any]) -> int:
    if index in added:
        return CONTROL if added[index].get("special") else USER_DEFINED
    return NORMAL if index in known else UNUSED


def _pre_tokenizer(raw: Mapping[str, Any]) -> str:
    """The name by which llama.cpp knows how a tokenizer splits text."""
    model, splits = raw["model"], raw.get("pre_tokenizer") or {}
    normalizer = (raw.get("normalizer") or {}).get("type")
    if model.get("type") != "BPE" or model.get("byte_fallback") or normalizer not in (None, "NFC"):
        raise _unwritable("its tokenizer is not a byte-level BPE")
    parts = splits.get("pretokenizers", [splits]) if isinstance(splits, Mapping) else []
    kinds = [part.get("type") for part in parts]
    if kinds in (["ByteLevel"], ["Digits", "ByteLevel"]):
        level = parts[-1]
        digits = len(kinds) == 1 or parts[0].get("individual_digits")
        if not level.get("add_prefix_space") and level.get("use_regex", True) and digits:
            return "gpt-2" if len(kinds) == 1 else "smollm"
    if kinds == ["Split", "ByteLevel"] and not parts[1].get("use_regex", True):
        pattern = str((parts[0].get("pattern") or {}).get("Regex"))
        if pattern in _SPLITS and not parts[1].get("add_prefix_space"):
            return _SPLITS[pattern]
    raise _unwritable("its tokenizer splits text in a way that has no name in llama.cpp here")


def _unwritable(why: str) -> ModelError:
    return ModelError(
        f"The model cannot be written as GGUF, because {why}; export it with --merged, and convert that "
        "folder with llama.cpp's own script."
    )
