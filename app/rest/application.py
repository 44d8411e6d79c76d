"""The REST API as one FastAPI app, to be mounted at /api/v1."""

from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from app.rest import docs, errors
from app.rest.caller import bearer, caller
from app.rest.routers import (
    adjudication,
    board,
    campaigns,
    comparisons,
    datasets,
    generations,
    judges,
    lineage,
    pair_scorings,
    reports,
    runs,
    slots,
    system,
    token_scores,
    votes,
)
from app.rest.schemas.problem import DOCUMENTED
from app.settings import Settings

PREFIX: Final = errors.PREFIX
_PARTS: Final = (
    datasets,
    runs,
    comparisons,
    generations,
    votes,
    campaigns,
    judges,
    pair_scorings,
    slots,
    adjudication,
    board,
    token_scores,
    reports,
    lineage,
    system,
)


class Api(FastAPI):
    """A FastAPI that reports an oversized body as a Problem instead of Starlette's plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def send_problem(message: Message) -> None:
            nonlocal refused
            if refused:
                return
            if message["type"] == "http.response.start" and message["status"] == 413:
                refused = True
                await errors.problem(413, errors.too_large(scope))(scope, receive, send)
            else:
                await send(message)

        await super().__call__(scope, receive, send_problem)


def build(settings: Settings) -> FastAPI:
    """Build the API. Every address requires a caller, including the schema and its page."""
    app = Api(
        title="HyPO Studio",
        version="1",
        summary="Datasets, runs, comparisons, votes, campaigns and reports, for programs.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(bearer), Depends(caller)],
        responses=DOCUMENTED,
        generate_unique_id_function=_operation_id,
        max_body_size=errors.MOST_BODY_BYTES,
        form_limits={"max_files": 1, "max_fields": 16, "max_part_size": 1 << 16},
    )
    uploads = APIRouter()
    datasets.add_upload_route(uploads, settings.max_upload_mb * 2**20)
    for router in (uploads, *(part.router for part in _PARTS)):
        app.include_router(router)
    errors.install(app)

    def schema() -> dict[str, Any]:
        """The OpenAPI schema of these addresses."""
        return {**app.openapi(), "servers": [{"url": PREFIX}]}

    app.add_api_route("/openapi.json", schema, include_in_schema=False)
    docs.install(app, schema)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
