"""Errors as JSON: every response other than 2xx has a status, a kind, a message and any invalid field.

The message is in the language of the request; without Accept-Language and cookie it is English.

NotFound -> 404, Refused -> 409, InvalidInput -> 422, Unauthorized -> 401. Failures of the database and a full
disk -> 503 and 507.
"""

import errno
import logging
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.errors import AppError, InvalidInput, NotFound, Refused
from app.i18n import in_language
from app.rest import validation
from app.rest.schemas.problem import Problem
from app.settings import get_settings
from app.store.full_disk import SENTENCE as DISK_IS_FULL
from app.store.full_disk import DiskFull
from app.text import clean_text
from hypo_engine.errors import EngineError

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
MOST_BODY_BYTES: Final = 1 << 20
"""Largest body of a call that has no limit of its own."""
UPLOAD: Final = "add_dataset"
"""The route whose limit is HYPO_MAX_UPLOAD_MB."""


class Unauthorized(AppError):
    """The call has no valid authentication."""


KINDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "refused",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
    503: "unavailable",
    507: "disk_full",
}


def problem(status: int, message: str, field: str | None = None) -> JSONResponse:
    """Build the response for an error."""
    said = Problem(
        status=status,
        error=KINDS.get(status, "error"),
        field=None if field is None else clean_text(field)[:200],
        message=in_language(clean_text(message)),
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(said.model_dump(), status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Register handlers that convert every kind of error to a Problem."""
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(EngineError, _engine_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(SQLAlchemyError, _database_error)
    app.add_exception_handler(OSError, _system_error)
    app.add_exception_handler(Exception, _unexpected)


def too_large(scope: Scope) -> str:
    """Say how large a body the route of a call takes, and which setting limits it."""
    route = scope.get("route")
    if getattr(route, "name", "") == UPLOAD:
        most = get_settings().max_upload_mb
        return f"The file is larger than {most} MiB, the limit that HYPO_MAX_UPLOAD_MB sets."
    limit = getattr(route, "max_body_size", None) or MOST_BODY_BYTES
    return f"The body is larger than {limit // 2**20} MiB, the most that this address takes."


async def outside(request: Request, error: Exception) -> Response:
    """Return a Problem for API addresses that never reach the API, such as one with a line break."""
    if request.url.path.startswith(PREFIX):
        return _http_error(request, error)
    assert isinstance(error, HTTPException)
    return await http_exception_handler(request, error)


def _app_error(_request: Request, error: Exception) -> JSONResponse:
    statuses = ((NotFound, 404), (Refused, 409), (InvalidInput, 422), (Unauthorized, 401))
    status = next((code for kind, code in statuses if isinstance(error, kind)), 409)
    return problem(status, str(error), getattr(error, "field", None))


def _engine_error(_request: Request, error: Exception) -> JSONResponse:
    return problem(422, str(error))


def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    """Report the first invalid value by name, without repeating the value."""
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else []
    first: dict[str, Any] = found[0] if found else {"loc": (), "msg": "it cannot be read", "type": ""}
    place = [str(part) for part in first["loc"]]
    field = ".".join(place[1:]) or (place[0] if place else "body")
    more = f"{len(found) - 1} more values are invalid." if len(found) > 2 else ""
    more = "One more value is invalid." if len(found) == 2 else more
    return problem(
        422,
        f"{validation.sentence(first, field)} {more}".strip(),
        field if first["type"] != "json_invalid" else "body",
    )


def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC:
        return problem(507, DISK_IS_FULL)
    detail = str(getattr(error, "detail", "")) or "The request failed"
    sentences = {
        404: "There is no such address; /api/v1/docs lists all addresses.",
        405: "The address does not support this method; /api/v1/docs lists all methods.",
        413: too_large(request.scope),
    }
    return problem(status, sentences.get(status, detail.rstrip(".") + "."))


def _database_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, DataError):
        return problem(422, "The database cannot store one of the values.")
    said = str(getattr(error, "orig", "") or error)
    log.error("The database failed: %s", said)
    if isinstance(error, DiskFull):
        return problem(507, DISK_IS_FULL)
    return problem(503, "The database does not answer; try again in a moment.")


def _system_error(_request: Request, error: Exception) -> JSONResponse:
    log.error("A file operation failed: %s", error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return problem(507, DISK_IS_FULL)
    return problem(503, "Files of the app cannot be read or written; its log says why.")


def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    return problem(500, "Something went wrong in the app; its log says what.")
