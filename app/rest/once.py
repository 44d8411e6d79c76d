"""Idempotent calls: repeated calls with an Idempotency-Key return the response of the first one."""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import Response
from pydantic import BaseModel

from app.errors import InvalidInput
from app.rest.caller import Caller
from app.store import idempotency
from app.store.db import write_session
from app.store.idempotency import Answered

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=idempotency.MAX_KEY_CHARS,
        description="Your key, new for each request; a repeated call with it returns the first answer.",
    ),
]


class Once:
    """Executes a request at most once per idempotency key of a user."""

    def __init__(self, request: Request, user: str, key: str | None) -> None:
        self._user, self._key = user, key
        self._what = f"{request.method} {request.url.path}"

    def run(self, given: Any, act: Callable[[], BaseModel], *, status: int = 201) -> Response:
        """The response of `act`, or the stored response of the first call with the same key.

        Args:
            given: the request's input. The same key with different input is refused.

        Raises:
            AppError: as `act`. The key is released and can be used again.
        """
        if self._key is None:
            return _answer(status, act().model_dump_json())
        with write_session() as session:
            claim = idempotency.take(self._key, self._sha256(given), session=session, user=self._user)
        if isinstance(claim, Answered):
            return _answer(claim.status, json.dumps(claim.response), replayed=True)
        try:
            made = act().model_dump_json()
        except BaseException:
            with write_session() as session:
                idempotency.give_back(claim, session=session)
            raise
        with write_session() as session:
            idempotency.answer(claim, status, json.loads(made), session=session)
        return _answer(status, made)

    def _sha256(self, given: Any) -> str:
        try:
            text = json.dumps([self._what, jsonable_encoder(given)], sort_keys=True)
        except (ValueError, RecursionError):
            raise InvalidInput("The body is nested too deeply.", field="body") from None
        return hashlib.sha256(text.encode()).hexdigest()


def _answer(status: int, content: str, *, replayed: bool = False) -> Response:
    headers = {"Idempotent-Replayed": "true"} if replayed else None
    return Response(content, status_code=status, headers=headers, media_type="application/json")


async def once(request: Request, user: Caller, key: Key = None) -> Once:
    """Dependency for `Once`. It is a coroutine because FastAPI would construct a class in a thread."""
    return Once(request, user, key)


OnceOnly = Annotated[Once, Depends(once)]
