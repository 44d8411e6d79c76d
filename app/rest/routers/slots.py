"""Slots: take comparisons of a campaign, judge them blind, skip, undo."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from app import labelling
from app.rest.caller import Caller
from app.rest.once import OnceOnly
from app.rest.schemas.slots import SlotShown, SlotsTaken, SlotVote, SlotVoteCast
from app.rest.types import PathId
from app.store import campaigns
from app.store.db import read_session
from app.store.slots import MOST_OPEN

router = APIRouter(tags=["slots"])


@router.post("/campaigns/{campaign_id}/slots", response_model=SlotsTaken)
def take_slots(
    user: Caller,
    campaign_id: PathId,
    count: Annotated[int, Query(ge=1, le=MOST_OPEN, description="How many you want to hold.")] = 3,
) -> SlotsTaken:
    """Take comparisons to judge. Those that you hold come first, with the same sides, and are renewed.

    A slot that you neither judge nor renew for five minutes may go to somebody else.
    """
    taken = labelling.take(campaign_id, user=user, count=count)
    with read_session() as session:
        campaign = campaigns.get(campaign_id, session=session)
    return SlotsTaken.of(taken, campaign)


@router.delete("/campaigns/{campaign_id}/slots", status_code=204)
def release_slots(user: Caller, campaign_id: PathId) -> None:
    """Give back the slots that you hold and have not judged."""
    labelling.release(campaign_id, user=user)


@router.put("/slots/{slot_id}/vote", response_model=SlotVote)
def vote_on_slot(once: OnceOnly, user: Caller, slot_id: PathId, given: SlotVoteCast) -> Response:
    """Vote in your order of the answers. The names stay hidden."""

    def act() -> SlotVote:
        vote = labelling.vote(
            slot_id,
            given.choice,
            user=user,
            worst=given.worst,
            reason=given.reason,
            seconds=given.seconds,
            aspects=given.aspects,
        )
        return SlotVote.of(slot_id, vote)

    return once.run([slot_id, given.model_dump()], act, status=200)


@router.delete("/slots/{slot_id}/vote", response_model=SlotShown)
def undo_slot(user: Caller, slot_id: PathId) -> SlotShown:
    """Withdraw your vote on a slot, or take back that you skipped it, and judge it again."""
    return SlotShown.of(labelling.undo(slot_id, user=user))


@router.post("/slots/{slot_id}/skip", status_code=204)
def skip_slot(user: Caller, slot_id: PathId) -> None:
    """Leave a comparison to others."""
    labelling.skip(slot_id, user=user)
