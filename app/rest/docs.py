"""The API's own page: every address with what it takes and answers. Plain HTML, so nothing is loaded from
elsewhere and no script runs."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from markupsafe import Markup

STYLE: Final = Path(__file__).with_name("docs.css")
PAGE: Final = Path(__file__).with_name("docs.html")
METHODS: Final = ("get", "post", "put", "delete")
TITLES: Final = {
    "datasets": "Datasets",
    "runs": "Runs",
    "comparisons": "Comparisons",
    "votes": "Votes",
    "system": "The app",
}

Schema = Mapping[str, Any]
Field = tuple[str, Schema, bool, str]
"""Name, type, whether it is needed, description."""


def install(app: FastAPI, schema: Callable[[], Schema]) -> None:
    """Add the page and its style sheet to the API."""

    def page() -> HTMLResponse:
        return HTMLResponse(render(schema()))

    def style() -> FileResponse:
        return FileResponse(STYLE, media_type="text/css")

    app.add_api_route("/docs", page, include_in_schema=False)
    app.add_api_route("/docs.css", style, include_in_schema=False)


def render(schema: Schema) -> str:
    """The page for a schema."""
    base = schema["servers"][0]["url"]
    operations = list(_operations(schema))
    nav = [Markup('<li><a href="#{}">{}</a></li>').format(tag, title) for tag, title in TITLES.items()]
    parts = [_section(tag, title, operations, schema) for tag, title in TITLES.items()]
    page = Markup(PAGE.read_text(encoding="utf-8"))
    return page.format(base=base, nav=Markup("").join(nav), parts=Markup("").join(parts))


def _operations(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _section(tag: str, title: str, operations: list[tuple[str, str, Schema]], schema: Schema) -> Markup:
    shown = [_operation(*found, schema) for found in operations if tag in found[2].get("tags", ())]
    return Markup('<section><h2 id="{}">{}</h2>{}</section>').format(tag, title, Markup("").join(shown))


def _operation(method: str, path: str, said: Schema, schema: Schema) -> Markup:
    takes = [
        (p["name"], p["schema"], p.get("required", False), p.get("description", ""))
        for p in said.get("parameters", ())
    ]
    takes += _fields(_body(said), schema)
    success = next(code for code in said["responses"] if code.startswith("2"))
    answer = _fields(_content(said["responses"][success]), schema)
    return Markup(
        '<details id="{id}"><summary><span class="method {method}">{upper}</span> <code>{path}</code> '
        "<span>{summary}</span></summary>{takes}{answers}</details>"
    ).format(
        id=said["operationId"],
        method=method,
        upper=method.upper(),
        path=path,
        summary=said.get("description", "").split("\n")[0],
        takes=_table("Takes", takes, schema, required=True),
        answers=_table(f"Answers {success}", answer, schema)
        if answer
        else Markup("<p>Answers {}.</p>").format(success),
    )


def _body(said: Schema) -> Schema:
    return _content(said.get("requestBody", {}))


def _content(holder: Schema) -> Schema:
    kinds = list(holder.get("content", {}).values())
    return kinds[0].get("schema", {}) if kinds else {}


def _resolved(part: Schema, schema: Schema) -> Schema:
    name = part.get("$ref", "").rpartition("/")[2]
    return schema["components"]["schemas"][name] if name else part


def _fields(part: Schema, schema: Schema, prefix: str = "") -> list[Field]:
    """Fields of an object, and of the objects in its lists (`runs[].id`); of a list, its items' fields."""
    found = _resolved(part, schema)
    if found.get("type") == "array":
        return _fields(found["items"], schema, prefix)
    needed = found.get("required", ())
    rows: list[Field] = []
    for name, field in found.get("properties", {}).items():
        rows.append((prefix + name, field, name in needed, field.get("description", "")))
        items = _resolved(field.get("items", {}), schema)
        if not prefix and items.get("properties"):
            rows += _fields(items, schema, f"{name}[].")
    return rows


def _table(title: str, rows: list[Field], schema: Schema, *, required: bool = False) -> Markup:
    if not rows:
        return Markup("")
    lines = [
        Markup("<tr><th scope=row><code>{}</code>{}</th><td>{}</td><td>{}</td></tr>").format(
            name,
            Markup(" <b>needed</b>") if required and needed else "",
            _kind(field, schema),
            _about(field, text),
        )
        for name, field, needed, text in rows
    ]
    return Markup("<table><caption>{}</caption>{}</table>").format(title, Markup("").join(lines))


def _about(field: Schema, text: str) -> str:
    default = field.get("default")
    return text if default in (None, "") else f"{text} Default: {json.dumps(default)}.".strip()


def _kind(field: Schema, schema: Schema) -> str:
    """A field's type in words."""
    if "anyOf" in field:
        return " or ".join(_kind(option, schema) for option in field["anyOf"])
    if "$ref" in field:
        found = _resolved(field, schema)
        return _kind(found, schema) if "enum" in found else str(found.get("title", "object"))
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        items = _resolved(field.get("items", {}), schema)
        return "list" if items.get("properties") else f"list of {_kind(items, schema)}"
    return str(field.get("format") or field.get("type") or "any")
