"""What a request says: values of the page's address, and who asks."""

import re

import gradio as gr

from app.text import read_id


def value(request: gr.Request | None, name: str, default: str = "") -> str:
    """A value of the page's address."""
    found = dict(request.query_params) if request is not None else {}
    return str(found.get(name, default))


def ids(request: gr.Request | None, name: str) -> list[int]:
    """Ids of the page's address, as in `runs?compare=3,4`; what cannot be an id is left out."""
    return to_ids(value(request, name))[:32]


def to_ids(text: str) -> list[int]:
    """Ids with commas or spaces between; what cannot be an id is left out."""
    found = (read_id(part) for part in re.split(r"[,\s]+", text))
    return [number for number in found if number is not None]


def username(request: gr.Request | None) -> str:
    """Who is asking; without a login everybody is `local`."""
    return (getattr(request, "username", None) or "local") if request is not None else "local"
