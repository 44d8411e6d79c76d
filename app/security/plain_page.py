"""Pages that need no script and no session: the login, and what is told to a browser that is turned away."""

from fastapi.responses import HTMLResponse
from markupsafe import Markup

from app.templates import render


def plain_page(title: str, content: Markup, *, status: int = 200) -> HTMLResponse:
    """A small card with the app's name over the content."""
    page = render("security/plain_page.html", title=title, content=content)
    return HTMLResponse(page, status_code=status)
