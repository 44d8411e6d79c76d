"""A dataset's pairs: score them under models, cancel, list; find leaks; leave pairs out."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from app import leaks, leaving_out, pair_scoring
from app.errors import InvalidInput
from app.leaks import Leak
from app.leaving_out import NewVersion
from app.rest.caller import Caller
from app.rest.files import streamed
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.pair_scorings import (
    LeakShown,
    LeaveOut,
    NewVersionShown,
    PairScoringShown,
    ScoredPairShown,
    ScoringWanted,
)
from app.rest.types import Id, Name, PathId, Text
from app.scored_pair_view import pair_view, scoring_view
from app.store import datasets, pair_scorings
from app.store.db import read_session
from app.store.enums import Split
from app.store.scored_pairs import Show

router = APIRouter(tags=["datasets"])

PlaceCursor = Annotated[str | None, Query(max_length=60, description="The `next` of the previous page.")]


@router.post("/datasets/{dataset}/scorings", status_code=201, response_model=PairScoringShown)
def score_pairs(once: OnceOnly, user: Caller, dataset: Name, given: ScoringWanted) -> Response:
    """Score a dataset's pairs under a run's checkpoint. Again, this continues it."""
    dataset_id = _id(dataset)

    def act() -> PairScoringShown:
        return _shown(pair_scoring.start(dataset_id, given.run_id, step=given.step, user=user))

    return once.run([dataset_id, given.model_dump()], act)


@router.get("/datasets/{dataset}/scorings", response_model=list[PairScoringShown])
def list_pair_scorings(dataset: Name) -> list[dict[str, Any]]:
    """List the models that score a dataset's pairs, newest first, with their progress."""
    with read_session() as session:
        found = pair_scoring.of_dataset(datasets.resolve(dataset, session=session).id, session=session)
    return [scoring_view(scoring) for scoring in found]


@router.post("/pair-scorings/{scoring_id}/cancel", response_model=PairScoringShown)
def cancel_pair_scoring(scoring_id: PathId) -> PairScoringShown:
    """Stop a scoring; its scores stay."""
    pair_scoring.cancel(scoring_id)
    return _shown(scoring_id)


@router.get("/datasets/{dataset}/scored-pairs", response_model=Page[ScoredPairShown])
def list_scored_pairs(
    dataset: Name,
    scoring: Annotated[
        list[Id] | None, Query(max_length=2, description="One or two scorings; the two newest by default.")
    ] = None,
    sort: Annotated[
        Show, Query(description="Which pairs, and their order; mislabelled: all models disagree.")
    ] = Show.ALL,
    split: Annotated[Split | None, Query(description="Only one side of the split.")] = None,
    search: Annotated[Text, Query(max_length=500, description="Only pairs that contain this.")] = "",
    limit: Limit = 50,
    cursor: PlaceCursor = None,
) -> dict[str, Any]:
    """List a dataset's pairs with their margins under one or two models."""
    with read_session() as session:
        dataset_id = datasets.resolve(dataset, session=session).id
        wanted = pair_scoring.checked_filter(
            dataset_id, scoring or [], session=session, show=sort, split=split or "", search=search
        )
        page = pair_scoring.page(dataset_id, wanted, session=session, limit=limit, after=cursor or "")
    items = [pair_view(found, page.scorings) for found in page.pairs]
    return {"items": items, "next": page.following or None}


Into = Annotated[Name, Query(description="The dataset that holds the prompts out; by default the same one.")]


@router.get("/datasets/{dataset}/leaks", response_model=Page[LeakShown])
def list_leaks(dataset: Name, into: Into = "", limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the training pairs of a dataset whose prompts an evaluation uses."""
    after, leak = place_of(cursor) or 0, _leak(dataset, into)
    found = [] if leak is None else [pair for pair in leak.pairs if pair.position >= after]
    shown, following = cut(found[: limit + 1], limit, lambda pair: pair.position + 1)
    return {"items": [asdict(pair) for pair in shown], "next": following}


@router.get("/datasets/{dataset}/leaks.csv", response_class=StreamingResponse)
def export_leaks(dataset: Name, into: Into = "") -> StreamingResponse:
    """Download the training pairs of a dataset whose prompts an evaluation uses, as CSV."""
    name = f"dataset-{_id(dataset)}-leaks.csv"
    return streamed(leaks.pieces(_leak(dataset, into)), name, "text/csv; charset=utf-8")


def _leak(dataset: str, into: str) -> Leak | None:
    with read_session() as session:
        trained_on = datasets.resolve(dataset, session=session).id
        evaluated_on = datasets.resolve(into, session=session).id if into else trained_on
        return leaks.find_leak(trained_on, evaluated_on, session=session)


@router.post("/datasets/{dataset}/leave-out", status_code=201, response_model=NewVersionShown)
def leave_out_pairs(once: OnceOnly, dataset: Name, given: LeaveOut) -> Response:
    """Make the next version of a dataset without some pairs; the old version stays."""
    dataset_id = _id(dataset)

    def act() -> NewVersionShown:
        return NewVersionShown.model_validate(asdict(_leave_out(dataset_id, given)))

    return once.run([dataset_id, given.model_dump()], act)


def _leave_out(dataset_id: int, given: LeaveOut) -> NewVersion:
    if (given.sort is not None) + bool(given.rows or given.positions) + given.leaks != 1:
        raise InvalidInput("Give rows or positions, or sort, or leaks.", field="rows")
    if given.leaks:
        return leaving_out.leave_out_leaks(dataset_id, _id(given.into) if given.into else None)
    if given.sort is None:
        of_rows = leaving_out.positions_of_rows(dataset_id, given.rows)
        return leaving_out.leave_out(dataset_id, {*given.positions, *of_rows}, reason=given.reason)
    with read_session() as session:
        wanted = pair_scoring.checked_filter(
            dataset_id,
            given.scoring,
            session=session,
            show=given.sort,
            split=given.split or "",
            search=given.search,
        )
    return leaving_out.leave_out_filtered(dataset_id, wanted, expected=given.expected)


def _id(dataset: str) -> int:
    with read_session() as session:
        return datasets.resolve(dataset, session=session).id


def _shown(scoring_id: int) -> PairScoringShown:
    with read_session() as session:
        return PairScoringShown.model_validate(scoring_view(pair_scorings.get(scoring_id, session=session)))
