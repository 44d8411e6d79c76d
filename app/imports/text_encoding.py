"""Convert text in UTF-8, UTF-16, UTF-32 or Windows-1252 to a stream of UTF-8.

UTF-16 and UTF-32 are detected by their byte-order mark. Windows-1252, which spreadsheets write on Western
Windows, is detected by accented letters and typographic quotes inside words that are not UTF-8. Everything
else is read as UTF-8; a row with invalid UTF-8 is left out.
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
)  # approximate: surrogates and overlong forms are too rare to affect a count
_HIGH = re.compile(rb"[\x80-\xff]")
_BROKEN_OFF = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}\Z")
_LEADS = bytes(range(0xC2, 0xF5))
_NO_LEADS = bytes(byte for byte in range(256) if byte not in _LEADS)
_WESTERN = re.compile(
    rb"[A-Za-z][\xc0-\xd6\xd8-\xf6\xf8-\xfe\x85\x91-\x94]|[\xc0-\xd6\xd8-\xf6\xf8-\xfe\x91\x93][A-Za-z]"
    rb"|[A-Za-z.!?] [\x96\x97] |[A-Za-z.!?][\x96\x97][A-Za-z]|\d ?[\x96\x97\xb1\xd7] ?\d"
    rb"|(?<![\x80-\xff])[\x80\xa3\xa5\xa7\xa9\xb1] ?\d|\d ?[\x80\xa3\xb0\xbc-\xbe](?![\x80-\xff])"
    rb"|[A-Za-z][\x99\xae](?![A-Za-z\x80-\xff])"
)
_NOT_WESTERN = re.compile(
    rb"[\x80-\xff]{3,}|[A-Za-z][\x80-\x90\x98-\x9f\xa1-\xb6\xb8-\xbf][A-Za-z]|[\x81\x8d\x8f\x90\x9d]|i\x97n"
)  # the last alternative is the end of "-ión" on old Macs
_WORD = re.compile(rb"[^\s,;|\"{}\x80-\xff]{0,20}[\x80-\xff][^\s,;|\"{}]{0,20}")

Codec = Literal["utf-8", "utf-16", "utf-32", "cp1252"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """A file's encoding, and a remark on it for the file's owner."""

    codec: Codec = "utf-8"
    remark: str = ""


@dataclass(slots=True)
class _Evidence:
    """Counts of non-ASCII patterns over a whole file."""

    utf8: int = 0
    others: int = 0
    western: int = 0
    not_western: int = 0
    sample: str = ""

    def add(self, text: bytes) -> None:
        """Count a part that begins and ends on character boundaries."""
        if text.isascii():
            return
        try:
            text.decode()
        except UnicodeDecodeError:
            self._add_broken(text)
        else:
            self.utf8 += len(text.translate(None, _NO_LEADS))

    def _add_broken(self, text: bytes) -> None:
        self.utf8 += sum(1 for _ in _UTF8.finditer(text))
        self.others += sum(1 for _ in _HIGH.finditer(_UTF8.sub(b"", text)))
        self.western += sum(1 for _ in _WESTERN.finditer(text))
        self.not_western += sum(1 for _ in _NOT_WESTERN.finditer(text))
        word = None if self.sample else _WORD.search(text)
        self.sample = word[0].decode("cp1252", errors="replace").strip() if word else self.sample

    def judged(self) -> Encoding:
        if not self.others:
            return Encoding()
        if self.western and self.others > 4 * self.utf8 and self.western >= 4 * self.not_western:
            return Encoding(
                "cp1252",
                f"The file is not UTF-8 and was read as Windows-1252 (“{self.sample}”). "
                "If letters look wrong, save it as UTF-8 and add it again.",
            )
        return Encoding(
            remark="Some text is not UTF-8; rows that need it are left out. Save the file as UTF-8 to keep "
            "them."
        )


def encoding_of(path: Path, limit: int) -> Encoding:
    """Detect a file's encoding from all of its non-ASCII text, in one pass.

    Raises:
        NotFound, InvalidInput: as `open_unpacked`, or the text is UTF-16 without a byte-order mark.
    """
    found, held = _Evidence(), b""
    with open_unpacked(path, Budget(limit)) as stream:
        chunk = stream.read(PEEK_BYTES)
        for bom, codec in _BOMS:
            if chunk.startswith(bom):
                return Encoding(codec)  # type: ignore[arg-type]
        if _NUL_IN_EVERY_CHARACTER.match(chunk):
            raise bad_file("The file is UTF-16 text without a byte-order mark. Save it as UTF-8.")
        chunk = chunk.removeprefix(codecs.BOM_UTF8)
        while chunk:
            text = held + chunk
            end = _between_characters(text)
            found.add(text[:end])
            held, chunk = text[end:], stream.read(PEEK_BYTES)
    found.add(held)
    return found.judged()


def _between_characters(text: bytes) -> int:
    """The last position at which to split a text: after its last line, or else its last whole character."""
    broken_off = _BROKEN_OFF.search(text, max(0, len(text) - 4))
    behind_line = text.rfind(b"\n", max(0, len(text) - PEEK_BYTES)) + 1
    return behind_line or (broken_off.start() if broken_off else len(text))


class _AsUtf8(io.RawIOBase):
    """Another stream's text as UTF-8. Bytes that its codec cannot decode become invalid UTF-8."""

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
                    "The file's text is damaged: it begins as UTF-16 or UTF-32 but does not "
                    "continue that way. Save it as UTF-8."
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
        NotFound, InvalidInput: as `open_unpacked`, or, while reading, the text is damaged.
    """
    with open_unpacked(path, budget) as stream:
        if encoding.codec == "utf-8":
            if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
                stream.read(len(codecs.BOM_UTF8))
            yield stream
            return
        with io.BufferedReader(_AsUtf8(stream, encoding.codec), PEEK_BYTES) as text:
            yield text
