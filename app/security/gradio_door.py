"""Allowlist of Gradio's routes, and validation of their requests.

Gradio's browser code needs only the routes below; every other route, of this or a later version, responds
with 404. Request bodies are checked before they reach Gradio: a session belongs to the user who started it,
and a file must be an upload of this user.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Container
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Refused
from app.security import files
from app.security.replies import refuse
from app.security.sessions import user_of

READ: Final = re.compile(
    r"/(assets|static|svelte)/.+|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon|/config/?"
    r"|/gradio_api/(queue/data|upload_progress|theme\.css|startup-events|app_id|info)/?"
)
CALL: Final = re.compile(r"/gradio_api/(queue/join|run/predict|cancel|reset)/?")
MOST_BODY_BYTES: Final = 4 * 2**20
MOST_SESSIONS: Final = 20_000
_SESSION: Final = re.compile(r"[\w-]{1,64}", re.ASCII)


class GradioDoor:
    """Middleware in front of Gradio's app."""

    def __init__(self, app: ASGIApp, pages: Container[str], handlers: Container[object]) -> None:
        self.app = app
        self.pages = pages
        self.handlers = handlers
        self.owners: OrderedDict[str, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path, reading = scope["path"], scope["method"] in ("GET", "HEAD")
        if reading and (path in self.pages or READ.fullmatch(path)):
            await self._read(scope, receive, send)
        elif scope["method"] == "POST" and CALL.fullmatch(path):
            await self._call(scope, receive, send)
        else:
            await refuse(404, "There is no page at this address.", scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        hashes = parse_qs(query).get("session_hash", [])
        if not all(self._owns(scope, session) for session in hashes):
            await refuse(403, "This session is not yours.", scope, receive, send)
            return
        if "deep_link" in query:  # would load a stored component state, including markup
            kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "deep_link"]
            scope = {**scope, "query_string": urlencode(kept).encode("latin-1")}
        await self.app(scope, receive, send)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = _parse(await _whole(receive))
            if scope["path"].rstrip("/").endswith(("join", "predict")) and not self._handles(body):
                await refuse(404, "There is no such handler; reload the page.", scope, receive, send)
                return
            session = body.get("session_hash")
            if session is not None and not self._owns(scope, session):
                await refuse(403, "This session is not yours.", scope, receive, send)
                return
            own = _with_own_files(body, user_of(HTTPConnection(scope)) or "")
            checked = json.dumps(own, ensure_ascii=False).encode()  # a lone surrogate raises ValueError
        except Refused as refused:
            await refuse(403, str(refused), scope, receive, send)
            return
        except OverflowError:
            await refuse(413, "The request is larger than 4 MiB.", scope, receive, send)
            return
        except (ValueError, RecursionError):
            await refuse(400, "The body of the request is not a JSON object.", scope, receive, send)
            return
        length = (b"content-length", str(len(checked)).encode())
        others = [(k, v) for k, v in scope["headers"] if k not in (b"content-length", b"transfer-encoding")]
        await self.app({**scope, "headers": [*others, length]}, _replay(checked, receive), send)

    def _handles(self, body: dict[str, Any]) -> bool:
        number = body.get("fn_index")
        return type(number) is int and number in self.handlers and isinstance(body.get("data"), list)

    def _owns(self, scope: Scope, session: object) -> bool:
        """Whether a Gradio session is this user's. The first user to name a session owns it."""
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            return False
        user = user_of(HTTPConnection(scope)) or ""
        owner = self.owners.setdefault(session, user)
        self.owners.move_to_end(session)
        while len(self.owners) > MOST_SESSIONS:
            self.owners.popitem(last=False)
        return owner == user


def _parse(body: bytes) -> dict[str, Any]:
    parsed = json.loads(body)
    if not isinstance(parsed, dict):
        raise ValueError("no object")
    return parsed


def _with_own_files(value: Any, user: str) -> Any:
    """Copy a value with every file reference reduced to a file that this user uploaded.

    Raises:
        Refused: for any other path.
    """
    if isinstance(value, list):
        return [_with_own_files(item, user) for item in value]
    if not isinstance(value, dict):
        return value
    if "path" in value or value.get("meta") == {"_type": "gradio.FileData"}:
        file = files.owned(str(value.get("path")), user)
        if file is None:
            raise Refused(
                "A file of this request was not uploaded by you, or no longer exists; choose it again."
            )
        name = value.get("orig_name")
        return {
            "path": str(file),
            "orig_name": name if isinstance(name, str) else file.name,
            "size": file.stat().st_size,
            "meta": {"_type": "gradio.FileData"},
        }
    return {key: _with_own_files(item, user) for key, item in value.items()}


async def _whole(receive: Receive) -> bytes:
    """Read the body of a request.

    Raises:
        OverflowError: the body exceeds MOST_BODY_BYTES.
    """
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise OverflowError
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Replay a body that has been read, then pass on later messages, such as a disconnect."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
