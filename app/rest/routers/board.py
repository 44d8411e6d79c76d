"""The board: the ranking of all models, or of a campaign's contenders; and the quality of its votes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.quality import read_quality
from app.quality_view import quality_view
from app.ranking import read_ranking
from app.rest.caller import Caller
from app.rest.schemas.board import BoardShown
from app.rest.schemas.quality import QualityShown
from app.rest.types import Name, PathId
from app.store import campaigns
from app.store.db import read_session
from app.text import MAX_ID
from app.views import ranking_view

router = APIRouter(tags=["votes"])


Reference = Annotated[
    int | None,
    Query(
        ge=1,
        le=MAX_ID,
        description="Number of a model, for win rates against it; by default the only base model.",
    ),
]


OfAspect = Annotated[
    Name | None, Query(description="Rank by this aspect, instead of by which answer is better.")
]


Adjudicated = Annotated[
    bool, Query(description="Count adjudicated verdicts in place of the votes on their comparisons.")
]


@router.get("/board", response_model=BoardShown)
def get_board(user: Caller, reference: Reference = None) -> dict[str, Any]:
    """Rank all models by the votes whose names you may see."""
    with read_session() as session:
        return ranking_view(read_ranking(session=session, viewer=user, reference=reference))


@router.get("/campaigns/{campaign_id}/board", response_model=BoardShown)
def get_campaign_board(
    user: Caller,
    campaign_id: PathId,
    reference: Reference = None,
    aspect: OfAspect = None,
    adjudicated: Adjudicated = False,
) -> dict[str, Any]:
    """Rank a campaign's contenders by its votes whose names you may see, or by an aspect of them."""
    with read_session() as session:
        campaign = campaigns.get(campaign_id, session=session)
        found = read_ranking(
            session=session,
            viewer=user,
            reference=reference,
            campaign_id=campaign_id,
            aspect=campaigns.checked_aspect(campaign, aspect),
            adjudicated=adjudicated,
        )
        return ranking_view(found)


@router.get("/campaigns/{campaign_id}/quality", response_model=QualityShown)
def get_campaign_quality(user: Caller, campaign_id: PathId) -> dict[str, Any]:
    """Say how far a campaign's voters agree, what their habits are, and where they differ."""
    with read_session() as session:
        return quality_view(read_quality(campaign_id, session=session, reader=user))
