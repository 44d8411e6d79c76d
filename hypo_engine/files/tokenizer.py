"""A tokenizer's files: chat template, special tokens and vocabulary. No torch here.

They replace a loaded tokenizer where a chat template is checked or rendered without transformers.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypo_engine.errors import ModelError
from hypo_engine.files.weights import Find

ANY_OF: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
)
"""Files of which every tokenizer has at least one."""

_SPECIAL: Final = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """A tokenizer as described by its files.

    Attributes:
        path: Path of tokenizer.json; None if it does not exist.
        chat_template: One template, several by name, or None.
        special_tokens_map: Special tokens, by role.
        added: Tokens that tokenizer_config.json adds: id -> whether it is special.
    """

    path: Path | None
    chat_template: str | dict[str, str] | None
    special_tokens_map: dict[str, str]
    added: dict[int, bool] = field(default_factory=dict)

    def get_chat_template(self) -> str:
        """The default template; raises ValueError if there is none."""
        if isinstance(self.chat_template, dict):
            if "default" not in self.chat_template:
                raise ValueError("no template is called default")
            return self.chat_template["default"]
        return self.chat_template or ""

    def check_vocabulary(self, size: int, name: str) -> None:
        """Refuse a tokenizer that maps text to ids beyond the embedding.

        Raises:
            ModelError: naming both sizes.
        """
        if self.path is None:
            return
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.path))
        except Exception:  # bare in tokenizers; transformers may still be able to read the file
            return
        known = tokenizer.get_vocab(with_added_tokens=True)
        added = self.added | {i: token.special for i, token in tokenizer.get_added_tokens_decoder().items()}
        used = {known.get(self.special_tokens_map.get(role, ""), 0) for role in ("bos_token", "eos_token")}
        refuse_larger(
            name,
            size=size,
            known={*known.values(), *added},
            special={i for i, special in added.items() if special},
            used=used,
        )


def refuse_larger(name: str, *, size: int, known: set[int], special: set[int], used: Iterable[int]) -> None:
    """Refuse a tokenizer with ids beyond the embedding, except for special tokens that no text maps to.

    Args:
        size: Rows of the embedding.
        known: Ids of all tokens.
        special: Ids of special tokens.
        used: Ids that must have a row even if they are special.

    Raises:
        ModelError: naming both sizes.
    """
    if any(i >= size for i in known - special) or any(i >= size for i in used):
        raise ModelError(
            f"The tokenizer of {name!r} has {len(known)} tokens, and the model's embedding {size}: some "
            f"tokens have no vector. Use the tokenizer that the model was trained with, or call "
            f"resize_token_embeddings({len(known)}), train the new rows and save the model again."
        )


def read_tokenizer(find: Find) -> TokenizerFiles:
    """Read a tokenizer's files; missing and unreadable ones are ignored."""
    config = _read_object(find("tokenizer_config.json"))
    tokens = _read_object(find("special_tokens_map.json")) | config
    special = {role: text for role in _SPECIAL if (text := _text(tokens.get(role)))}
    added = config.get("added_tokens_decoder")
    return TokenizerFiles(
        path=find("tokenizer.json"),
        chat_template=_template(find("chat_template.jinja")) or _templates(config.get("chat_template")),
        special_tokens_map=special,
        added={
            int(i): isinstance(token, dict) and token.get("special") is True
            for i, token in (added if isinstance(added, dict) else {}).items()
            if i.isdecimal()
        },
    )


def _read_object(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(token: Any) -> str:
    """A special token's text, from a string or an object."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""


def _template(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, ValueError):
        return ""


def _templates(given: Any) -> str | dict[str, str] | None:
    """A template from tokenizer_config.json, or several by name."""
    if isinstance(given, list):
        pairs = [(one.get("name"), one.get("template")) for one in given if isinstance(one, dict)]
        return {str(name): str(template) for name, template in pairs} or None
    return given if isinstance(given, str) and given else None
