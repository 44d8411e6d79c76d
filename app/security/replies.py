"""Refusals as small responses: one sentence, as text or JSON."""

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send


async def refuse(status: int, sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    """End a request with a status and a sentence; programs read it under `detail`."""
    response: Response
    if b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        response = PlainTextResponse(sentence, status_code=status)
    else:
        response = JSONResponse({"detail": sentence}, status_code=status)
    await response(scope, receive, send)
