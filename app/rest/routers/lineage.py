"""The lineage of a dataset, run or campaign."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app import lineage
from app.i18n.language import DEFAULT, speaking
from app.lineage_view import lineage_view
from app.rest.caller import Caller
from app.rest.schemas.lineage import LineageShown
from app.rest.types import Name
from app.text import MAX_ID

router = APIRouter(tags=["lineage"])


@router.get("/lineage", response_model=LineageShown)
def get_lineage(
    user: Caller,
    dataset: Annotated[Name | None, Query(description="NAME, NAME@VERSION or id.")] = None,
    run: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Or a run.")] = None,
    campaign: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Or a campaign.")] = None,
) -> dict[str, Any]:
    """Say what a dataset, a run or a campaign comes from, and what was made with it."""
    thing = lineage.read_thing(dataset=dataset, run=run, campaign=campaign)
    with speaking(DEFAULT):
        return lineage_view(lineage.of(thing, viewer=user))
