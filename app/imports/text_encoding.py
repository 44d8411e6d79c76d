"""Text in UTF-8, UTF-16, UTF-32 or Windows-1252 -> a stream of UTF-8.

UTF-16 and UTF-32 are known by their byte-order mark. Windows-1252, which spreadsheets write on Western
Windows, is known by accented letters and typographic quotes inside words that are no UTF-8. Everything else
is taken for UTF-8, and what is none costs its row.
"""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from app.imports.unpacked import PEEK_BYTES, Budget, bad_file, open_unpacked

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NUL_IN_EVERY_CHARACTER = re.compile(rb"(?s)(?:\x00[^\x00]){8}|(?:[^\x00]\x00){8}")
_UTF8 = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)  # roughly: surrogates and overlong forms are too rare to matter for a count
_HIGH = re.compile(rb"[\x80-\xff]")
_WESTERN = re.compile(
    rb"[A-Za-z][\xc0-\xd6\xd8-\xf6\xf8-\xfe\x85\x91-\x94]|[\xc0-\xd6\xd8-\xf6\xf8-\xfe\x91\x93][A-Za-z]"
    rb"|[A-Za-z.!?] [\x96\x97] "
)
_NOT_WESTERN = re.compile(
    rb"[\x80-\xff]{3,}|[A-Za-z][\x80-\x90\x93-\x9f\xa1-\xb6\xb8-\xbf][A-Za-z]|[\x81\x8d\x8f\x90\x9d]"
)
_WORD = re.compile(rb"[^\s,;|\"{}\x80-\xff]{0,20}[\x80-\xff][^\s,;|\"{}]{0,20}")

Codec = Literal["utf-8", "utf-16", "utf-32", "cp1252"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's text is written, and what its owner should know about that."""

    codec: Codec = "utf-8"
    remark: str = ""


def encoding_of(path: Path, limit: int) -> Encoding:
    """Read a file up to its first text beyond ASCII, and judge the encoding by that.

    Raises:
        NotFound, InvalidInput: as `open_unpacked` does; or the text is UTF-16 without a byte-order mark.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_unpacked(path, Budget(limit)) as stream:
        chunk = stream.read(PEEK_BYTES)
        for bom, codec in _BOMS:
            if chunk.startswith(bom):
                return Encoding(codec)  # type: ignore[arg-type]
        if _NUL_IN_EVERY_CHARACTER.match(chunk):
            raise bad_file("The file is UTF-16 text without a byte-order mark. Save it as UTF-8.")
        chunk = chunk.removeprefix(codecs.BOM_UTF8)
        while chunk:
            try:
                if not (chunk.isascii() or decoder.decode(chunk).isascii()):
                    return Encoding()
            except UnicodeDecodeError:
                return _of_bytes(chunk)
            chunk = stream.read(PEEK_BYTES)
    return Encoding()


def _of_bytes(text: bytes) -> Encoding:
    """Judge text that is not UTF-8 throughout."""
    utf8 = sum(1 for _ in _UTF8.finditer(text))
    others = sum(1 for _ in _HIGH.finditer(_UTF8.sub(b"", text)))
    western, not_western = (sum(1 for _ in kind.finditer(text)) for kind in (_WESTERN, _NOT_WESTERN))
    if western and others > 4 * utf8 and western >= 4 * not_western:
        word = _WORD.search(text)
        sample = word[0].decode("cp1252", errors="replace").strip() if word else ""
        return Encoding(
            "cp1252",
            f"The file is not UTF-8 and was read as Windows-1252 (“{sample}”). "
            "If letters look wrong, save it as UTF-8 and add it again.",
        )
    return Encoding(
        remark="Some text is not UTF-8; rows that need it are left out. Save the file as UTF-8 to keep them."
    )


class _AsUtf8(io.RawIOBase):
    """Another stream's text in UTF-8. What its codec cannot decode stays invalid UTF-8."""

    def __init__(self, inner: IO[bytes], codec: Codec) -> None:
        self._inner = inner
        self._errors = "surrogateescape" if codec == "cp1252" else "surrogatepass"
        self._decoder = codecs.getincrementaldecoder(codec)(self._errors)
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            data = self._inner.read(len(buffer))
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError:
                raise bad_file(
                    "The file's text is damaged: it begins as UTF-16 or UTF-32 and does not go on so. "
                    "Save it as UTF-8."
                ) from None
            self._ready = text.encode("utf-8", self._errors)
            if not data:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


@contextmanager
def open_text(path: Path, budget: Budget, encoding: Encoding) -> Iterator["io.BufferedReader[Any]"]:
    """Open a plain or gzipped text for reading in one pass, as UTF-8 without a byte-order mark.

    Raises:
        NotFound, InvalidInput: as `open_unpacked` does; or, while reading, the text is damaged.
    """
    with open_unpacked(path, budget) as stream:
        if encoding.codec == "utf-8":
            if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
                stream.read(len(codecs.BOM_UTF8))
            yield stream
            return
        with io.BufferedReader(_AsUtf8(stream, encoding.codec), PEEK_BYTES) as text:
            yield text
