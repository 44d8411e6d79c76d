"""The ranking of all models or of a campaign's contenders, also as CSV; and the quality of its votes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.board_csv import BoardTable
from app.quality import read_quality
from app.quality_view import quality_view
from app.ranking import Ranking, read_ranking
from app.rest.board_files import Table, sent_board
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


@router.get("/board.csv", response_class=StreamingResponse)
def export_board(
    user: Caller, table: Table = BoardTable.RANKING, reference: Reference = None
) -> StreamingResponse:
    """Download a table of the ranking of all models as CSV: exact values, counts of votes, 95% intervals."""
    with read_session() as session:
        found = read_ranking(session=session, viewer=user, reference=reference)
    return sent_board(found, table)


@router.get("/campaigns/{campaign_id}/board", response_model=BoardShown)
def get_campaign_board(
    user: Caller,
    campaign_id: PathId,
    reference: Reference = None,
    aspect: OfAspect = None,
    adjudicated: Adjudicated = False,
) -> dict[str, Any]:
    """Rank a campaign's contenders by its votes whose names you may see, or by an aspect of them."""
    return ranking_view(_of_campaign(user, campaign_id, reference, aspect, adjudicated=adjudicated))


@router.get("/campaigns/{campaign_id}/board.csv", response_class=StreamingResponse)
def export_campaign_board(
    user: Caller,
    campaign_id: PathId,
    table: Table = BoardTable.RANKING,
    reference: Reference = None,
    aspect: OfAspect = None,
    adjudicated: Adjudicated = False,
) -> StreamingResponse:
    """Download a table of a campaign's ranking as CSV: exact values, counts of votes, 95% intervals."""
    found = _of_campaign(user, campaign_id, reference, aspect, adjudicated=adjudicated)
    return sent_board(found, table, f"campaign-{campaign_id}")


def _of_campaign(
    user: str, campaign_id: int, reference: int | None, aspect: str | None, *, adjudicated: bool
) -> Ranking:
    with read_session() as session:
        campaign = campaigns.get(campaign_id, session=session)
        return read_ranking(
            session=session,
            viewer=user,
            reference=reference,
            campaign_id=campaign_id,
            aspect=campaigns.checked_aspect(campaign, aspect),
            adjudicated=adjudicated,
        )


@router.get("/campaigns/{campaign_id}/quality", response_model=QualityShown)
def get_campaign_quality(user: Caller, campaign_id: PathId) -> dict[str, Any]:
    """Say how far a campaign's voters agree, what their habits are, and where they differ."""
    with read_session() as session:
        return quality_view(read_quality(campaign_id, session=session, reader=user))
