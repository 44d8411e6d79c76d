"""Refusals as small responses of one sentence, as a page or JSON."""

from markupsafe import Markup
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from app.i18n import _, in_language
from app.security.plain_page import plain_page

_PAGE = Markup('<p role="alert">{}</p>\n<a href="/">{}</a>\n')


async def refuse(status: int, sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    """End a request with a status and a sentence. In JSON the sentence is in `detail`, in English."""
    response: Response
    if b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        response = plain_page(
            _("Refused") if status != 404 else _("Not found"),
            _PAGE.format(in_language(sentence), _("Home")),
            status=status,
        )
    else:
        response = JSONResponse({"detail": sentence}, status_code=status)
    await response(scope, receive, send)
