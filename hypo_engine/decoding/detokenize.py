"""Incremental detokenization that never shows half a character.

A byte-level token may contain part of a character, which decodes to the replacement character. The stream
waits until the character is complete. Each call decodes only the last few tokens.
"""

from typing import Any

REPLACEMENT = "\ufffd"
_LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character; a replacement character that persists for longer is genuine."""


class TextStream:
    """Turns token ids into text as they arrive.

    Attributes:
        text: The text so far; it only ever grows.
        pieces: The text that each token added, in order; names of special tokens appear only here.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = 0  # decoding starts here, one settled stretch back, so that spaces come out right
        self._settled = 0
        self.text = ""
        self.pieces: list[str] = []

    def add(self, token: int, *, special: bool = False) -> None:
        """Append a token; ``special`` tokens (the end of an answer) add nothing to the text."""
        if special:
            self.pieces.append(str(self._tokenizer.convert_ids_to_tokens(token)))
            return
        self._ids.append(token)
        before = self._decode(self._start, self._settled)
        now = self._decode(self._start, len(self._ids))
        waiting = len(self._ids) - self._settled
        if now.endswith(REPLACEMENT) and waiting < _LONGEST_CHARACTER:
            self.pieces.append("")
            return
        piece = now[len(before) :]
        self._start, self._settled = self._settled, len(self._ids)
        self.text += piece
        self.pieces.append(piece)

    def _decode(self, start: int, end: int) -> str:
        return str(self._tokenizer.decode(self._ids[start:end], skip_special_tokens=True))
