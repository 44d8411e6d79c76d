"""The API's documentation page: every address with its parameters and responses.

The page is plain HTML without scripts or external resources.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from markupsafe import Markup

from app.templates import render

STYLE: Final = Path(__file__).with_name("docs.css")
METHODS: Final = ("get", "post", "put", "patch", "delete")
TITLES: Final = {
    "datasets": "Datasets",
    "runs": "Runs",
    "comparisons": "Comparisons",
    "generations": "Generations",
    "scores": "Texts token by token",
    "reports": "Reports",
    "lineage": "Lineage",
    "votes": "Votes",
    "campaigns": "Campaigns",
    "slots": "Judging a campaign",
    "judges": "Automatic judges",
    "system": "The app",
}

Schema = Mapping[str, Any]
Field = tuple[str, Schema, bool, str]
"""Name, type, whether it is required, and description."""


def install(app: FastAPI, schema: Callable[[], Schema]) -> None:
    """Add the page and its style sheet to the API."""

    def page() -> HTMLResponse:
        return HTMLResponse(page_of(schema()))

    def style() -> FileResponse:
        return FileResponse(STYLE, media_type="text/css")

    app.add_api_route("/docs", page, include_in_schema=False)
    app.add_api_route("/docs.css", style, include_in_schema=False)


def page_of(schema: Schema) -> Markup:
    """Render the page for a schema."""
    operations = list(_operations(schema))
    sections = [
        {
            "tag": tag,
            "title": title,
            "operations": [
                _operation(*found, schema) for found in operations if tag in found[2].get("tags", ())
            ],
        }
        for tag, title in TITLES.items()
    ]
    return render("rest/docs.html", base=schema["servers"][0]["url"], sections=sections)


def _operations(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _operation(method: str, path: str, said: Schema, schema: Schema) -> dict[str, Any]:
    """The page's data on an operation: its parameters and its response on success."""
    takes = [
        (p["name"], p["schema"], p.get("required", False), p.get("description", ""))
        for p in said.get("parameters", ())
    ]
    takes += _fields(_body(said), schema)
    success = next(code for code in said["responses"] if code.startswith("2"))
    answers = _fields(_content(said["responses"][success]), schema)
    return {
        "id": said["operationId"],
        "method": method,
        "path": path,
        "summary": said.get("description", "").split("\n")[0],
        "takes": [_row(field, schema) for field in takes],
        "success": success,
        "answers": [{**_row(field, schema), "needed": False} for field in answers],
    }


def _row(field: Field, schema: Schema) -> dict[str, Any]:
    name, kind, needed, text = field
    return {"name": name, "needed": needed, "kind": _kind(kind, schema), "about": _about(kind, text)}


def _body(said: Schema) -> Schema:
    return _content(said.get("requestBody", {}))


def _content(holder: Schema) -> Schema:
    kinds = list(holder.get("content", {}).values())
    return kinds[0].get("schema", {}) if kinds else {}


def _resolved(part: Schema, schema: Schema) -> Schema:
    name = part.get("$ref", "").rpartition("/")[2]
    return schema["components"]["schemas"][name] if name else part


def _fields(part: Schema, schema: Schema, prefix: str = "") -> list[Field]:
    """The fields of an object and of the objects in its lists (`runs[].id`); for a list, of its items."""
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
