"""Pages that need no script and no session: the login, and what is told to a browser that is turned away."""

from functools import cache
from pathlib import Path

from fastapi.responses import HTMLResponse
from markupsafe import Markup


def plain_page(title: str, content: Markup, *, status: int = 200) -> HTMLResponse:
    """A small card with the app's name over the content."""
    page = template("plain_page.html").replace("%title%", Markup.escape(title)).replace("%content%", content)
    return HTMLResponse(page, status_code=status)


@cache
def template(name: str) -> Markup:
    """A file of this folder, as markup with names between per cent signs."""
    return Markup(Path(__file__).with_name(name).read_text(encoding="utf-8"))
