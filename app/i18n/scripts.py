"""Serves the texts of the pages' scripts, with what finds them: one script for each language."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fastapi import Response
from starlette.exceptions import HTTPException

from app.delivery import FOR_GOOD
from app.i18n.catalogue import catalogues
from app.i18n.language import COOKIE, LANGUAGES, current

ADDRESS: Final = "texts"
SCRIPTS: Final = "scripts"
"""The catalogue of the texts that scripts show."""
_FORMS: Final = {"ru": ("one", "few", "many")}
"""Names of a language's plural forms in the order of its catalogues (Unicode's CLDR)."""
_LOOKUP: Final = Path(__file__).with_name("texts.js")
_BUTTON: Final = Path(__file__).with_name("language.js")


@lru_cache
def _script(language: str) -> str:
    given = {"language": language, "names": LANGUAGES, "cookie": COOKIE, "texts": _texts(language)}
    return f"window.hyTexts = {json.dumps(given, ensure_ascii=False)};\n{_LOOKUP.read_text(encoding='utf-8')}"


def _texts(language: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for message in catalogues(language).get(SCRIPTS, ()):
        if isinstance(message.id, str) and message.id:
            found[message.id] = message.string
        elif not isinstance(message.id, str):
            found[message.id[0]] = dict(zip(_FORMS[language], message.string or (), strict=True))
    return found


def serve(name: str) -> Response:
    """The script of a language, or of the button that changes the language."""
    if name == _BUTTON.name:
        script = _BUTTON.read_text(encoding="utf-8")
    elif name.removesuffix(".js") in LANGUAGES:
        script = _script(name.removesuffix(".js"))
    else:
        raise HTTPException(404)
    return Response(script, media_type="text/javascript", headers={"Cache-Control": FOR_GOOD})


def texts_script() -> str:
    """HTML for the head: the texts of the present language."""
    return _tag(f"{current()}.js", _script(current()))


def button_script() -> str:
    """HTML for the head, after the script that makes the place for tools."""
    return _tag(_BUTTON.name, _BUTTON.read_text(encoding="utf-8"))


def _tag(name: str, script: str) -> str:
    version = hashlib.sha256(script.encode()).hexdigest()[:12]
    return f'<script src="{ADDRESS}/{name}?v={version}"></script>'
