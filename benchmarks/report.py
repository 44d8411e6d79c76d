"""Insert tables into docs/performance.md, between the markers of their section."""

import re
from pathlib import Path

from benchmarks.options import SECTIONS
from benchmarks.results import Results
from benchmarks.tables import section_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def write_page(results: Results, page: Path = PAGE) -> list[str]:
    """Replace the tables of each measured section; the others are unchanged.

    Returns:
        The replaced sections.

    Raises:
        ValueError: the page lacks a section's markers.
    """
    text, written = page.read_text(encoding="utf-8"), []
    for section in SECTIONS:
        found = section_text(results, section)
        if found:
            text = replace_between(text, f"{section}-gpu" if results.on_gpu else section, found)
            written.append(section)
    page.write_text(text, encoding="utf-8")
    return written


def replace_between(text: str, name: str, inside: str) -> str:
    """Replace the text between ``<!-- bench:name -->`` and ``<!-- /bench:name -->`` by ``inside``."""
    pattern = re.compile(f"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)", re.DOTALL)
    replaced, count = pattern.subn(lambda match: f"{match[1]}\n{inside.strip()}\n\n{match[2]}", text)
    if count != 1:
        raise ValueError(
            f"docs/performance.md should have the markers of bench:{name} once, not {count} times."
        )
    return replaced
