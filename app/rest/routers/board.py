"""The board: the ranking of all models."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.ranking import read_ranking
from app.rest.caller import Caller
from app.rest.schemas.board import BoardShown
from app.store.db import read_session
from app.text import MAX_ID
from app.views import ranking_view

router = APIRouter(tags=["votes"])


@router.get("/board", response_model=BoardShown)
def get_board(
    user: Caller,
    reference: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_ID,
            description="Number of a model, for win rates against it; by default the only base model.",
        ),
    ] = None,
) -> dict[str, Any]:
    """Rank all models by the votes whose names you may see."""
    with read_session() as session:
        return ranking_view(read_ranking(session=session, viewer=user, reference=reference))
