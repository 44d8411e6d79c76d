"""Votes: cast, change, withdraw, list, export."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from app import answers
from app.errors import NotFound
from app.exports.labels import MAX_LICENCE_CHARS, Export
from app.exports.layouts import LabelFormat
from app.exports.options import Options
from app.exports.writers import FileType
from app.rest.caller import Caller
from app.rest.files import sent_file, streamed
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.votes import VoteCast, VoteShown, VoteStored
from app.rest.types import Name, PathId
from app.store import label_queries, labels
from app.store.db import read_session
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from app.text import MAX_ID
from app.views import vote_view

router = APIRouter(tags=["votes"])

MEDIA_TYPES = {
    FileType.JSONL: "application/x-ndjson",
    FileType.CSV: "text/csv",
    FileType.PARQUET: "application/vnd.apache.parquet",
}

OfUser = Annotated[Name | None, Query(description="Only this user's votes.")]
OfChoice = Annotated[Choice | None, Query(description="Only votes of this kind.")]
OfCampaign = Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only votes of this campaign.")]
BlindOnly = Annotated[bool, Query(description="Only votes that were cast blind.")]
OfRun = Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only votes on answers of this run.")]


@router.put("/comparisons/{comparison_id}/vote", response_model=VoteStored)
def vote(once: OnceOnly, user: Caller, comparison_id: PathId, given: VoteCast) -> Response:
    """Vote on a comparison. A person has one vote on it: a second one takes the place of the first."""

    def act() -> VoteStored:
        label = answers.vote(
            comparison_id,
            given.choice,
            user=user,
            worst=given.worst,
            reason=given.reason,
            seconds=given.seconds,
        )
        return VoteStored.of(label, user)

    return once.run([comparison_id, given.model_dump()], act, status=200)


@router.get("/comparisons/{comparison_id}/vote", response_model=VoteShown)
def get_own_vote(user: Caller, comparison_id: PathId) -> VoteShown:
    """Read your vote on a comparison."""
    return _shown(_own(comparison_id, user), user)


@router.delete("/comparisons/{comparison_id}/vote", status_code=204)
def withdraw_own_vote(user: Caller, comparison_id: PathId) -> None:
    """Withdraw your vote on a comparison."""
    _withdraw(_own(comparison_id, user), user)


@router.get("/votes", response_model=Page[VoteShown])
def list_votes(
    caller: Caller,
    user: OfUser = None,
    choice: OfChoice = None,
    run_id: OfRun = None,
    campaign_id: OfCampaign = None,
    blind: BlindOnly = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List votes, newest first; those that you may still judge blind tell neither names nor verdict."""
    only = VoteFilter(user, choice, run_id, campaign_id, blind)
    with read_session() as session:
        found = label_queries.votes(
            session=session, only=only, limit=limit + 1, before=place_of(cursor), viewer=caller
        )
    shown, following = cut(found, limit, lambda vote: vote.label.id)
    answers.record_shown(shown, user=caller)
    return {"items": [vote_view(vote) for vote in shown], "next": following}


@router.get("/votes/export", response_class=StreamingResponse)
def export_votes(
    caller: Caller,
    format: Annotated[
        LabelFormat,
        Query(
            description="trl: prompt, chosen, rejected; kto: prompt, completion, label; arena: LMArena's "
            "columns; argilla: records; raw: one row for each vote, with everything."
        ),
    ] = LabelFormat.TRL,
    file_type: Annotated[FileType, Query(description="The kind of file.")] = FileType.JSONL,
    user: OfUser = None,
    choice: OfChoice = None,
    run_id: OfRun = None,
    campaign_id: OfCampaign = None,
    blind: BlindOnly = False,
    adjudicated: Annotated[
        bool,
        Query(description="trl: adjudicated verdicts of the campaign in place of the votes there."),
    ] = False,
    whole: Annotated[
        bool, Query(description="trl, kto: leave out answers that were cut at the length limit.")
    ] = False,
    merge: Annotated[
        bool,
        Query(description="trl: one row for each comparison, with votes, weight, margin and soft_label."),
    ] = False,
    people: Annotated[bool, Query(description="Write the voters' names instead of pseudonyms.")] = False,
    archive: Annotated[bool, Query(description="Send a zip with the file and its manifest.")] = False,
    licence: Annotated[
        str, Query(max_length=MAX_LICENCE_CHARS, description="The licence that the manifest states.")
    ] = "",
) -> Response:
    """Download votes as a file; names that you may not see yet are left out."""
    only = VoteFilter(user, choice, run_id, campaign_id, blind, adjudicated)
    options = Options(leave_out_cut=whole, merge=merge, people=people)
    export = Export(format, file_type, only=only, viewer=caller, options=options, licence=licence)
    if archive:
        return sent_file(export.write_archive, "application/zip", caller)
    return streamed(export.pieces(), export.file_name, MEDIA_TYPES[file_type])


@router.get("/votes/{vote_id}", response_model=VoteShown)
def get_vote(user: Caller, vote_id: PathId) -> VoteShown:
    """Read a vote."""
    return _shown(vote_id, user)


@router.post("/votes/names")
def show_all_names(user: Caller) -> dict[str, int]:
    """See the names of all votes; your later votes on these comparisons do not count as blind."""
    return {"comparisons": answers.show_all_names(user=user)}


@router.delete("/votes/{vote_id}", status_code=204)
def withdraw_vote(user: Caller, vote_id: PathId) -> None:
    """Withdraw a vote of yours."""
    _withdraw(vote_id, user)


def _own(comparison_id: int, user: str) -> int:
    with read_session() as session:
        label = labels.of_user(comparison_id, user, session=session)
    if label is None:
        raise NotFound(f"You have no vote on comparison {comparison_id}.")
    return label.id


def _withdraw(vote_id: int, user: str) -> None:
    answers.withdraw(vote_id, user=user)


def _shown(vote_id: int, user: str) -> VoteShown:
    with read_session() as session:
        vote = label_queries.details(vote_id, session=session, viewer=user)
    answers.record_shown([vote], user=user)
    return VoteShown.model_validate(vote_view(vote))
