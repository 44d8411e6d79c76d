"""The texts of a dataset's pairs in one UTF-8 buffer. No torch here."""

import json
from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from hypo_engine.data.pair import Pair


class PairTexts(Sequence[Pair]):
    """A sequence of pairs; each pair is created on access.

    A prompt that several consecutive pairs share is stored once.
    """

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self._text = bytearray()
        # per pair: start and end of the prompt, start of the answers, end of each answer
        self._bounds = array("q")
        self._extras = array("d")  # per pair: weight and margin
        for pair in pairs:
            self.append(pair)

    def append(self, pair: Pair) -> None:
        """Add a pair at the end."""
        prompt, chosen, rejected = (_encode(part) for part in (pair.prompt, pair.chosen, pair.rejected))
        begin, end = self._bounds[-5:-3] if len(self) else (0, 0)
        if len(self) == 0 or self._text[begin:end] != prompt:
            begin, end = len(self._text), len(self._text) + len(prompt)
            self._text += prompt
        answers = len(self._text)
        self._text += chosen
        middle = len(self._text)
        self._text += rejected
        self._bounds.extend((begin, end, answers, middle, len(self._text)))
        self._extras.extend((pair.weight, pair.margin))

    def __len__(self) -> int:
        return len(self._bounds) // 5

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        row = range(len(self))[index]
        begin, end, answers, middle, last = self._bounds[5 * row : 5 * row + 5]
        parts = self._text[begin:end], self._text[answers:middle], self._text[middle:last]
        prompt, chosen, rejected = (json.loads(_decode(part)) for part in parts)
        return Pair(prompt, chosen, rejected, *self._extras[2 * row : 2 * row + 2])


def _encode(part: object) -> bytes:
    # JSON, since a prompt may be turns, and a text may contain lone surrogates, which UTF-8 cannot encode
    return json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _decode(part: bytes | bytearray) -> str:
    return part.decode("utf-8", "surrogatepass")
