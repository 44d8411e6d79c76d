"""Values of a request: query parameters and the user name."""

import re

import gradio as gr

from app.text import read_id


def value(request: gr.Request | None, name: str, default: str = "") -> str:
    """A query parameter of the page's address."""
    found = dict(request.query_params) if request is not None else {}
    return str(found.get(name, default))


def ids(request: gr.Request | None, name: str) -> list[int]:
    """Ids in a query parameter, as in `runs?compare=3,4`; invalid ids are dropped."""
    return to_ids(value(request, name))[:32]


def wrong_id(request: gr.Request | None, name: str) -> str:
    """The beginning of a query parameter that should be an id and is none; empty if nothing is wrong."""
    text = value(request, name).strip()
    return "" if to_ids(text) else text[:40]


def to_ids(text: str) -> list[int]:
    """Ids separated by commas or spaces; invalid ids are dropped."""
    found = (read_id(part) for part in re.split(r"[,\s]+", text))
    return [number for number in found if number is not None]


def username(request: gr.Request | None) -> str:
    """The user name; `local` when there is no login."""
    return (getattr(request, "username", None) or "local") if request is not None else "local"
