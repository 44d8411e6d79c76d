"""Adjudication: read the comparisons on which voters differ, and decide them."""

from fastapi import APIRouter

from app import adjudication
from app.rest.caller import Caller
from app.rest.schemas.adjudication import CaseShown, DisagreementListed, VerdictGiven
from app.rest.types import PathId

router = APIRouter(prefix="/campaigns/{campaign_id}/disagreements", tags=["campaigns"])


@router.get("", response_model=list[DisagreementListed])
def list_disagreements(user: Caller, campaign_id: PathId) -> list[DisagreementListed]:
    """List the comparisons on which people differ and that you may decide; undecided ones come first."""
    return [DisagreementListed.of(found) for found in adjudication.queue(campaign_id, user=user)]


@router.get("/{number}", response_model=CaseShown)
def get_disagreement(user: Caller, campaign_id: PathId, number: PathId) -> CaseShown:
    """Read a disagreement: the answers, and what people said with their reasons, without any names."""
    return CaseShown.of(adjudication.case(campaign_id, number, user=user))


@router.put("/{number}/verdict", response_model=CaseShown)
def decide_disagreement(user: Caller, campaign_id: PathId, number: PathId, given: VerdictGiven) -> CaseShown:
    """Decide a disagreement, in your order of the answers. The verdict is no vote."""
    adjudication.decide(campaign_id, number, given.choice, user=user, worst=given.worst, reason=given.reason)
    return CaseShown.of(adjudication.case(campaign_id, number, user=user))


@router.delete("/{number}/verdict", status_code=204)
def undo_verdict(user: Caller, campaign_id: PathId, number: PathId) -> None:
    """Take back your verdict; the campaign's owner may take back everybody's."""
    adjudication.undo(campaign_id, number, user=user)
