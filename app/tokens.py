"""Token counts for people, with the demo model's tokenizer where it was unpacked. No torch here."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.settings import Settings

MODEL = "smollm2-135m-instruct"


class TokenCounter:
    """Counts tokens. The turns of a conversation are counted as text, without a chat template."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))

    def count(self, text: str | Sequence[Mapping[str, Any]]) -> int:
        """Tokens of a text, or of all turns of a conversation."""
        parts = [text] if isinstance(text, str) else [str(turn["content"]) for turn in text]
        encoded = self._tokenizer.encode_batch(parts, add_special_tokens=False)
        return sum(len(encoding.ids) for encoding in encoded)


def token_counter(settings: Settings) -> TokenCounter | None:
    """The counter, or None until the demo model is unpacked."""
    path = settings.models_dir / MODEL / "tokenizer.json"
    try:
        return _load(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=2)
def _load(path: Path, _written_at: int) -> TokenCounter | None:
    try:
        return TokenCounter(path)
    except Exception:  # tokenizers raises bare Exception for a file it cannot read
        return None
