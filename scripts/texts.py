"""Bring the catalogues of `app/i18n/` up to date with the texts in the code: `python -m scripts.texts`.

New texts are added without a translation, texts that are gone are removed. `--check` changes nothing, prints
what is missing, and exits with 1 if anything is.
"""

import ast
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po

from app.i18n.catalogue import FOLDER, read
from app.i18n.language import DEFAULT, LANGUAGES
from app.i18n.scripts import SCRIPTS

ROOT: Final = Path(__file__).resolve().parent.parent
Message = str | tuple[str, str]

TEXTS: Final = ("_", "_html", "N_")
TEMPLATE_KEYWORDS: Final = {"_": None, "_html": None, "_n": (1, 2)}
SCRIPT_KEYWORDS: Final = {"hyText": None, "hyCount": (1, 2)}
NAMED: Final = ("label", "title", "counted", "help", "note", "unit", "description", "run", "loss")
"""Arguments of the engine's constants that pages show."""
NOT_SHOWN: Final = (
    "app/cli",
    "app/i18n",
    "app/main.py",
    "app/mcp",
    "app/migrate.py",
    "app/model_card.py",
    "app/rest/application.py",
    "app/rest/docs.py",
    "app/rest/moved.py",
    "app/rest/schemas",
    "app/settings.py",
    "app/ui",
    "hypo_engine/__main__.py",
    "hypo_engine/chat/standing.py",
    "hypo_engine/cpu",
    "hypo_engine/decoding/cpu_",
    "hypo_engine/decoding/cuda_graph.py",
    "hypo_engine/dry_run.py",
)
"""Code whose sentences are not patterns: for programs and the command line, or with texts of their own."""
LOGS: Final = ("debug", "info", "warning", "error", "exception")
FAULTS: Final = ("AssertionError", "KeyError", "OperationalError", "RuntimeError")
"""Errors whose messages are for programmers."""
PARAMETERS: Final = ("Query", "Path", "Form", "File", "Header", "HTTPBearer")
"""What describes the API to programs, as fields of classes do, except the engine's options."""
FRAGMENTS: Final = frozenset((ROOT / "scripts" / "fragments.txt").read_text(encoding="utf-8").splitlines())
"""Short parts of sentences, patterns as all others, that do not read like prose."""
_PROSE: Final = re.compile(r"[A-Z`{\"'].*[.?!:;]|.*\w+ \w+ \w+ \w+.*", re.DOTALL)
_WORDS: Final = re.compile(r"[A-Za-z]{2,}")
_SQL: Final = re.compile(
    r"(CREATE|DROP|INSERT|SELECT|UPDATE|DELETE) |.*\b(IS NOT NULL|SELECT \w+ FROM)\b.*", re.DOTALL
)


def area(path: Path) -> str:
    """The catalogue of a source file."""
    parts = path.relative_to(ROOT).parts
    if path.suffix == ".js":
        return SCRIPTS
    if parts[0] != "app":
        return {"hypo_engine": "engine"}.get(parts[0], parts[0])
    inner = parts[2:] if parts[1] == "ui" else parts[1:]
    inner = inner[1:] if inner[0] == "templates" else inner
    if len(inner) < 2 or inner[0] in ("widgets", "home"):
        return "ui" if parts[1] == "ui" else "app"
    return inner[0]


def sources() -> list[Path]:
    """Every file that may hold a text."""
    kinds = {".py", ".html", ".js"}
    folders = (ROOT / name for name in ("app", "hypo_engine", "worker"))
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in kinds)


def found() -> dict[str, set[Message]]:
    """All texts in the code by their catalogue."""
    texts: dict[str, set[Message]] = {}
    for path in sources():
        texts.setdefault(area(path), set()).update(in_file(path))
    return {name: messages for name, messages in texts.items() if messages}


def in_file(path: Path) -> Iterator[Message]:
    """The texts of one file."""
    if path.suffix == ".py":
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from in_calls(tree)
        if not path.relative_to(ROOT).as_posix().startswith(NOT_SHOWN):
            for_programs = PARAMETERS if area(path) == "engine" else (*PARAMETERS, "Field")
            yield from sentences(tree, for_programs)
        return
    method = "javascript" if path.suffix == ".js" else "jinja2.ext:babel_extract"
    keywords = SCRIPT_KEYWORDS if path.suffix == ".js" else TEMPLATE_KEYWORDS
    with path.open("rb") as file:
        for _line, message, _comments, _context in extract(method, file, keywords):
            yield message


def in_calls(tree: ast.AST) -> Iterator[Message]:
    """The arguments of `_()` and its like, and the nouns of `count()`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
        given = [
            arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
        ]
        if name in TEXTS and given:
            yield given[0]
        elif name == "_n" and len(given) >= 2:
            yield given[0], given[1]
        elif name in ("count", "_count") and given and _WORDS.match(given[0]):
            yield f"{{n}} {given[0]}", f"{{n}} {given[1] if len(given) > 1 else given[0] + 's'}"


def sentences(tree: ast.AST, for_programs: Collection[str] = PARAMETERS) -> Iterator[str]:
    """Literals that read like prose, as patterns: an f-string's values become `{0}`, `{1}` and so on."""
    passed = set(not_prose(tree, for_programs))
    for node in ast.walk(tree):
        if node in passed:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = numbered(node.value)
        elif isinstance(node, ast.JoinedStr):
            passed.update(part for part in node.values if isinstance(part, ast.Constant))
            text = pattern(node)
        else:
            continue
        literal = re.sub(r"\{[0-9]+\}", "", text)
        prose = _PROSE.fullmatch(text) and len(_WORDS.findall(literal)) >= 2
        if text in FRAGMENTS or (prose and "\n" not in text.strip() and _SQL.match(text) is None):
            yield text
    for node in ast.walk(tree):
        if node in passed:
            continue
        if isinstance(node, ast.keyword) and node.arg in NAMED and isinstance(node.value, ast.Constant):
            named = node.value.value
            if isinstance(named, str) and _WORDS.search(named):
                yield named


def pattern(node: ast.JoinedStr) -> str:
    """An f-string with numbered places."""
    pieces, number = [], 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            pieces.append(str(part.value))
        else:
            pieces.append(f"{{{number}}}")
            number += 1
    return "".join(pieces)


def numbered(template: str) -> str:
    """A template that somebody else fills in, `{kind} failed`, with numbers for the names."""
    names = dict.fromkeys(re.findall(r"\{([a-z_]+)\}", template))
    for number, name in enumerate(names):
        template = template.replace(f"{{{name}}}", f"{{{number}}}")
    return template


def not_prose(tree: ast.AST, for_programs: Collection[str] = ()) -> Iterator[ast.AST]:
    """Docstrings and other bare strings, arguments of `_()`, of log calls and of what is for programmers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            if name in (*TEXTS, *LOGS, "_n", "count", "_count", "text", "compile", "warn"):
                yield from (inner for arg in node.args for inner in ast.walk(arg))
            elif name in FAULTS or name in for_programs:
                yield from ast.walk(node)
        elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            yield from ast.walk(node.format_spec)


def updated(name: str, messages: set[Message], language: str) -> Catalog:
    """A catalogue with exactly these texts, and the translations that it had."""
    path = FOLDER / language / f"{name}.po"
    before = read(path, language) if path.exists() else Catalog(locale=language)
    after = Catalog(locale=language)
    for message in sorted(messages, key=lambda one: one if isinstance(one, str) else one[0]):
        known = before.get(message if isinstance(message, str) else message[0])
        same = known is not None and known.id == message
        after.add(message, known.string if known is not None and same else None)
    return after


def missing(name: str, messages: set[Message], language: str) -> list[str]:
    """What a catalogue lacks, one line for each text."""
    wrong = []
    for entry in updated(name, messages, language):
        if not entry.id:
            continue
        forms = entry.string if isinstance(entry.string, (tuple, list)) else (entry.string,)
        shown = entry.id if isinstance(entry.id, str) else entry.id[0]
        if not all(forms):
            wrong.append(f"{name}.po: no translation of {shown!r}")
        elif any(places(form) != places(shown) for form in forms):
            wrong.append(f"{name}.po: the translation of {shown!r} has other places")
    path = FOLDER / language / f"{name}.po"
    known = {entry.id for entry in read(path, language) if entry.id} if path.exists() else set()
    return wrong + [f"{name}.po: {one!r} is not in the code" for one in sorted(known - messages, key=str)]


def places(text: str) -> set[str]:
    """The names of the values in a text."""
    return set(re.findall(r"\{(\w+)", text))


def write(name: str, messages: set[Message], language: str) -> None:
    catalogue = updated(name, messages, language)  # before the file is emptied
    with (FOLDER / language / f"{name}.po").open("wb") as file:
        write_po(file, catalogue, width=110, no_location=True, omit_header=True)


def main() -> None:
    check = "--check" in sys.argv[1:]
    texts, wrong = found(), []
    for language in LANGUAGES.keys() - {DEFAULT}:
        if not check:
            for name, messages in texts.items():
                write(name, messages, language)
            for path in (FOLDER / language).glob("*.po"):
                if path.stem not in texts:
                    path.unlink()
        wrong += [line for name, messages in texts.items() for line in missing(name, messages, language)]
    print("\n".join(wrong) or "Every text is translated.")
    if wrong and check:
        sys.exit(1)


if __name__ == "__main__":
    main()
