"""Token counts for display, with the demo model's tokenizer if it is unpacked. Does not use torch."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.settings import Settings

MODEL = "smollm2-135m-instruct"


class TokenCounter:
    """Counts tokens. Turns of a conversation count as text, without a chat template."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))

    def count(self, text: str | Sequence[Mapping[str, Any]]) -> int:
        """Number of tokens of a text or of all turns of a conversation."""
        return self.count_all([text])[0]

    def count_all(self, texts: Sequence[str | Sequence[Mapping[str, Any]]]) -> list[int]:
        """Number of tokens of each text or conversation, counted on all cores."""
        parts = [[t] if isinstance(t, str) else [str(turn["content"]) for turn in t] for t in texts]
        flat = [part for turns in parts for part in turns]
        encoded = iter(self._tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        return [sum(len(next(encoded).ids) for _ in turns) for turns in parts]


def token_counter(settings: Settings) -> TokenCounter | None:
    """The counter, or None until the demo model is unpacked."""
    path = settings.models_dir / MODEL / "tokenizer.json"
    try:
        return load_counter(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=4)
def load_counter(path: Path, _written_at: int) -> TokenCounter | None:
    """The counter of a tokenizer.json, cached until the file changes; None if it cannot be read."""
    try:
        return TokenCounter(path)
    except Exception:  # tokenizers raises a bare Exception for an unreadable file
        return None
