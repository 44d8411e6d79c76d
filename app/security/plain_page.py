"""Pages without scripts or a session: the login page and refusals."""

from fastapi.responses import HTMLResponse
from markupsafe import Markup

from app.i18n.language import current
from app.templates import render


def plain_page(title: str, content: Markup, *, status: int = 200) -> HTMLResponse:
    """A small card with the app's name above the content."""
    page = render("security/plain_page.html", title=title, content=content, language=current())
    return HTMLResponse(page, status_code=status)
