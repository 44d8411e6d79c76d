"""Every text that a person may see is in the catalogues, translated, with its values in place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.i18n.catalogue import FOLDER
from app.i18n.language import DEFAULT, LANGUAGES
from scripts import texts

OTHERS = sorted(LANGUAGES.keys() - {DEFAULT})
NO_TEXTS = ("theme.py", "plotly_js.py")
"""Files of pages that show no text: style sheets and addresses."""
NAMES = ("HyPO Studio",)
VALUES = ("both bad", "each its own")
"""Words of the API and of fields; what is shown for them has another literal."""

_TAGS = re.compile(r"<kbd>[^<]*</kbd>|<[^>]*>|\{[^{}]*\}|&\w+;", re.DOTALL)
_JINJA = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)
_SPOKEN = re.compile(r"(?:title|aria-label|placeholder|alt|data-label)=\"([^\"]*)\"")
_TWO_WORDS = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,}")
_CODE = re.compile(
    r"=>|hy-|\(\)|;\s*$|^[a-z-]+: |^[a-z_]+( [a-z_]+=|\.|$)|var\(--|^SELECT|^default-src|px\b|rgba?\("
)
_SHOWN_ARGUMENTS = ("label", "info", "placeholder", "title", "caption", "note", "lead")
_SHOWN_WORD = re.compile(r"[A-Z][a-z]+")


def languages_and_areas() -> list[tuple[str, str]]:
    return [(language, path.stem) for language in OTHERS for path in sorted((FOLDER / language).glob("*.po"))]


@pytest.fixture(scope="module")
def found() -> dict[str, set[texts.Message]]:
    return texts.found()


@pytest.mark.parametrize(("language", "area"), languages_and_areas())
def test_a_catalogue_has_exactly_the_texts_of_the_code(
    language: str, area: str, found: dict[str, set[texts.Message]]
) -> None:
    wrong = texts.missing(area, found.get(area, set()), language)
    assert not wrong, "\n".join([*wrong, "Run `python -m scripts.texts`, then translate what is new."])


def test_an_update_keeps_what_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ru").mkdir()
    before = (FOLDER / "ru" / "ui.po").read_bytes()
    (tmp_path / "ru" / "ui.po").write_bytes(before)
    monkeypatch.setattr(texts, "FOLDER", tmp_path)
    texts.write(
        "ui", {message.id for message in texts.read(tmp_path / "ru" / "ui.po", "ru") if message.id}, "ru"
    )
    assert (tmp_path / "ru" / "ui.po").read_bytes() == before


@pytest.mark.parametrize("language", OTHERS)
def test_one_text_has_one_translation(language: str) -> None:
    known: dict[object, object] = {}
    for path in sorted((FOLDER / language).glob("*.po")):
        for message in texts.read(path, language):
            if message.id:
                assert known.setdefault(message.id, message.string) == message.string, (path.name, message.id)


def sources(kind: str) -> list[Path]:
    """The pages' files of a kind whose area has a catalogue."""
    areas = {area for _language, area in languages_and_areas()}
    return [
        path
        for path in texts.sources()
        if path.suffix == kind and in_pages(path) and texts.area(path) in areas
    ]


def in_pages(path: Path) -> bool:
    return name(path).startswith("app/ui/") and path.name not in NO_TEXTS


def name(path: Path) -> str:
    return path.relative_to(texts.ROOT).as_posix()


@pytest.mark.parametrize("path", sources(".py"), ids=name)
def test_no_text_of_a_page_goes_round_the_catalogues(path: Path) -> None:
    assert list(untranslated(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", sources(".html"), ids=name)
def test_no_text_of_a_template_goes_round_the_catalogues(path: Path) -> None:
    source = _JINJA.sub("", path.read_text(encoding="utf-8"))
    spoken = [text for text in _SPOKEN.findall(source) if re.search("[A-Za-z]{2}", text)]
    assert spoken + re.findall("[A-Za-z]{2,}[^<>]*", _TAGS.sub(" ", source)) == []


def untranslated(tree: ast.Module) -> Iterator[str]:
    """Literals that read like words for a person but are no argument of `_()`."""
    passed = set(texts.not_prose(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("RuntimeError", "KeyError"):
            passed.update(ast.walk(node))  # faults of the code itself
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed:
            if (
                node.value not in (*NAMES, *VALUES)
                and not _CODE.search(node.value)
                and _TWO_WORDS.search(_TAGS.sub("|", node.value))
            ):
                yield node.value
        elif isinstance(node, ast.keyword) and node.arg in _SHOWN_ARGUMENTS:
            word = str(getattr(node.value, "value", ""))
            if _SHOWN_WORD.match(word) and word not in NAMES:
                yield word


@pytest.mark.parametrize(
    "source",
    [
        'gr.Textbox(label="Name")',
        'notice("No runs yet")',
        'Markup("<b>All done</b>")',
        'f"{n} of {m} are left"',
    ],
)
def test_the_search_finds_a_text_that_goes_round(source: str) -> None:
    assert list(untranslated(ast.parse(source)))


@pytest.mark.parametrize(
    "source", ['_("No runs yet")', 'log.info("all is well")', "'hy-button hy-primary'", '"""All of it."""']
)
def test_the_search_passes_what_is_not_shown(source: str) -> None:
    assert list(untranslated(ast.parse(source))) == []
