"""The text of single tokens, for people: what a token adds, its bytes if it is a part of a character."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hypo_engine.decoding.detokenize import REPLACEMENT, TextStream

_SPACE = "\u2581"
"""SentencePiece's mark of a space."""


class TokenTexts:
    """Texts of a tokenizer's tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._alone: dict[int, str] = {}

    def alone(self, token: int) -> str:
        """The text of a token by itself; its bytes in hexadecimal, as in ‹E2 82›, if they are no text."""
        if token not in self._alone:
            self._alone[token] = self._read(token)
        return self._alone[token]

    def in_order(self, ids: Sequence[int], special: frozenset[int] = frozenset()) -> list[str]:
        """The text that each token adds to the ones before it; :meth:`alone` of a token that adds none.

        Args:
            special: tokens that end an answer; they are shown by their names.
        """
        pieces = self.pieces(ids, special)
        return [piece or self.alone(token) for piece, token in zip(pieces, ids, strict=True)]

    def pieces(self, ids: Sequence[int], special: frozenset[int] = frozenset()) -> list[str]:
        """The text that each token adds, as a decoder reports it."""
        stream = TextStream(self._tokenizer)
        for token in ids:
            stream.add(token, special=token in special)
        return stream.pieces

    def ids_of(self, pieces: Sequence[str]) -> list[int] | None:
        """The tokens that add these texts one after another; None if they cannot be told from the texts."""
        ids, unfinished = list[int](), 0
        for piece in pieces:
            if not piece:
                unfinished += 1
                continue
            found = self._tokenizer(piece, add_special_tokens=False).input_ids
            if len(found) != unfinished + 1:
                return None
            ids += found
            unfinished = 0
        return ids if not unfinished and self.pieces(ids) == list(pieces) else None

    def _read(self, token: int) -> str:
        name = self._tokenizer.convert_ids_to_tokens(token)
        if name is None:
            return f"‹token {token}›"
        text = str(self._tokenizer.decode([token], skip_special_tokens=False))
        if REPLACEMENT in text:
            return self._hexadecimal(str(name))
        if str(name).startswith(_SPACE) and not text.startswith(" "):
            return f" {text}"
        return text or str(name)

    def _hexadecimal(self, name: str) -> str:
        """The bytes of a byte-level token, or the name of another kind of token."""
        if not all(character in self._bytes for character in name):
            return name
        return "‹" + "\u202f".join(f"{self._bytes[character]:02X}" for character in name) + "›"

    @cached_property
    def _bytes(self) -> dict[str, int]:
        """The byte of each character in the names of byte-level tokens.

        Printable bytes are their own names; the others are named by the characters from 256 on, in order.
        """
        printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
        others = (byte for byte in range(256) if byte not in printable)
        named = {chr(byte): byte for byte in printable}
        return named | {chr(256 + place): byte for place, byte in enumerate(others)}
