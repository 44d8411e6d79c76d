"""Former functions of Gradio's API. Their callers get the REST call that replaces each of them.

On connecting, `gradio_client` requests the list of functions with its own query and shows the response. Other
programs post to `/gradio_api/call/NAME`.
"""

import re
from typing import Final
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MOVED: Final = {
    "add_dataset": "POST /api/v1/datasets",
    "list_datasets": "GET /api/v1/datasets",
    "launch_run": "POST /api/v1/runs",
    "get_run": "GET /api/v1/runs/{run_id}",
    "list_runs": "GET /api/v1/runs",
    "cancel_run": "POST /api/v1/runs/{run_id}/cancel",
    "generate": "POST /api/v1/comparisons",
    "vote": "PUT /api/v1/comparisons/{comparison_id}/vote",
    "list_labels": "GET /api/v1/votes",
    "export_labels": "GET /api/v1/votes/export",
}

_CALL: Final = re.compile(r"/gradio_api/(?:call(?:/v2)?|run|api)/(\w+)(?:/\w*)?")
_LIST: Final = "/gradio_api/info"


class OldNames:
    """Responds with 410 and the replacing REST call to requests for Gradio's former API."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = _sentence(scope) if scope["type"] == "http" else None
        if said is None:
            await self.app(scope, receive, send)
            return
        await PlainTextResponse(said, status_code=410)(scope, receive, send)


def _sentence(scope: Scope) -> str | None:
    called = _CALL.fullmatch(scope["path"])
    if called and called[1] in MOVED:
        return f"{called[1]} is gone from Gradio's API: call {MOVED[called[1]]} instead. {_SEE}"
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    if scope["path"].rstrip("/") == _LIST and "serialize" in query:
        calls = "; ".join(f"{name} is {call}" for name, call in MOVED.items())
        return f"Programs call the REST API, not gradio_client: {calls}. {_SEE}"
    return None


_SEE: Final = "/api/v1/docs describes every call."
