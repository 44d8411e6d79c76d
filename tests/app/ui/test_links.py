"""Links of one page to another use parameters that the other page reads."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import app.ui

UI = Path(app.ui.__file__).parent
PAGE_AT = {"url": 0, "link": 1, "link_button": 1}
"""The argument of each function that names the page."""
OWN = {"primary"}
"""Keywords of these functions that are no parameters of an address."""


def trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for file in [folder.with_suffix(".py"), *sorted(folder.rglob("*.py"))]:
        if file.is_file():
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def links() -> Iterator[tuple[str, str, str]]:
    """The page, the parameter and the place of each link."""
    for file, tree in trees(UI):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            at = PAGE_AT.get(name)
            if at is None or len(node.args) <= at:
                continue
            page = node.args[at]
            if not isinstance(page, ast.Constant) or (UI / str(page.value)).suffix:
                continue
            for keyword in node.keywords:
                if keyword.arg and keyword.arg not in OWN:
                    yield str(page.value), keyword.arg, f"{file.relative_to(UI)}:{node.lineno}"


def names_in(page: str) -> set[str]:
    """The texts and the fields in the code of a page, among them the parameters that it reads."""
    scripts = "".join(file.read_text(encoding="utf-8") for file in (UI / page).glob("*.js"))
    found = {"tab", *re.findall(r"""["'](\w+)["']""", scripts)}  # every page with tabs keeps the open one
    for _file, tree in trees(UI / page):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def test_pages_read_what_links_to_them_say() -> None:
    wanted = [link for link in links() if not link[0].startswith("api/")]
    assert len(wanted) > 50
    known = {page: names_in(page) for page, _name, _place in wanted}
    assert [link for link in wanted if link[1] not in known[link[0]]] == []
