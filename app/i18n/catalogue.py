"""The catalogues: gettext files (`.po`), one for each language and part of the code."""

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

FOLDER: Final = Path(__file__).parent


def read(path: Path, language: str) -> Catalog:
    """One catalogue file."""
    with path.open(encoding="utf-8") as file:
        return read_po(file, locale=language)


@lru_cache
def catalogues(language: str) -> dict[str, Catalog]:
    """The catalogues of a language by their part of the code; English has none."""
    return {path.stem: read(path, language) for path in sorted((FOLDER / language).glob("*.po"))}


@lru_cache
def translations(language: str) -> NullTranslations:
    """All texts of a language."""
    merged: Translations | None = None
    for catalogue in catalogues(language).values():
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        part = Translations(compiled)
        merged = part if merged is None else merged.add(part)
    return merged or NullTranslations()
