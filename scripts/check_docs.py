"""Check the links, anchors, files, commands and variables in the documents. Run by `make docs`."""

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import cli
from app.settings import Settings
from benchmarks.options import parse

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HISTORY = {"CHANGELOG.md"}
"""Documents about past versions. Their files and commands may no longer exist."""

FOLDERS = "app|benchmarks|docs|hypo_engine|migrations|scripts|study|tests|worker"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FILE = re.compile(rf"(?:{FOLDERS})(?:/[\w.-]+)*/?|[\w-]+\.(?:md|toml|yaml|txt)|Makefile")
COMMAND = re.compile(r"(?:\S*/bin/)?(hypo|make|python -m)(?: |$)")
VARIABLE = re.compile(r"\bHYPO_[A-Z_0-9]+\b")
INTERNAL = {"HYPO_WATCH_PARENT", "HYPO_EMBEDDED_PASSWORD", "HYPO_WORKER_QUEUES"}


def faults(page: Path) -> list[str]:
    """The faults of a page, one sentence each."""
    text = page.read_text(encoding="utf-8")
    found = [*_bad_links(page, text), *_unknown_variables(text)]
    if page.name not in HISTORY:
        found += [*_missing_files(page, text), *_bad_commands(text)]
    return found


def _bad_links(page: Path, text: str) -> Iterator[str]:
    for address in LINK.findall(_without_code(text)):
        if address.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = address.partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            yield f"{address} leads to no file"
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{address} names no heading of {target.name}"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub generates from a document's headings."""
    headings = re.findall(r"^#+ (.+)$", _without_fences(text), re.MULTILINE)
    found: set[str] = set()
    for heading in headings:
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        base = slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while slug in found:
            number += 1
            slug = f"{base}-{number}"
        found.add(slug)
    return found


def _missing_files(page: Path, text: str) -> Iterator[str]:
    for code in CODE.findall(_without_fences(text)):
        name = code.partition(":")[0]
        if (
            "NAME" not in name
            and FILE.fullmatch(name)
            and not (ROOT / name).exists()
            and not (page.parent / name).exists()
        ):
            yield f"`{code}` is no file of the project"


def _bad_commands(text: str) -> Iterator[str]:
    for command in commands(text):
        try:
            _check_command(command)
        except (ImportError, LookupError, ValueError, SystemExit) as error:
            yield f"`{command}`: {error}"


def commands(text: str) -> Iterator[str]:
    """Yield the command lines on a page, from code spans and the lines of code blocks."""
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in _joined(block).splitlines()]
    lines += [line.strip() for line in _joined(_without_fences(text)).splitlines() if line.startswith("    ")]
    for line in [*CODE.findall(_without_fences(text)), *lines]:
        if COMMAND.match(line):
            yield line.partition(" #")[0].strip()


def _check_command(command: str) -> None:
    first, *words = shlex.split(command)
    program = first.rpartition("/")[2]
    if program == "make":
        _check_verbs(words)
    elif program == "hypo":
        _check_hypo(words)
    else:  # python -m
        _check_module(words[1], words[2:])


def _check_verbs(words: list[str]) -> None:
    verbs = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for word in words:
        if "=" not in word and word not in verbs:
            raise LookupError(f"the Makefile has no verb {word!r}")


def _check_hypo(words: list[str]) -> None:
    """Run a command with `--help` appended: unknown words are refused before the help is shown."""
    told = CliRunner().invoke(cli, [*words, "--help"])
    if told.exit_code:
        raise LookupError(told.output.strip().splitlines()[-1])


def _check_module(module: str, words: list[str]) -> None:
    if find_spec(module) is None:
        raise LookupError(f"there is no module {module!r}")
    if module == "benchmarks" and words != ["--help"]:
        parse([*words, "--read", "none"])


def _unknown_variables(text: str) -> Iterator[str]:
    known = {f"HYPO_{name.upper()}" for name in Settings.model_fields} | INTERNAL
    yield from (f"{name} is no setting" for name in sorted(set(VARIABLE.findall(text)) - known))


def _joined(text: str) -> str:
    """Join lines that end with a backslash to the next."""
    return re.sub(r"\\\n\s*", "", text)


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _without_code(text: str) -> str:
    return CODE.sub("", _without_fences(text))


def main() -> int:
    """Print every fault and return the exit status."""
    found = [f"{page.relative_to(ROOT)}: {fault}" for page in PAGES for fault in faults(page)]
    print("\n".join(found) or f"{len(PAGES)} documents: every link, file, command and variable is there.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
