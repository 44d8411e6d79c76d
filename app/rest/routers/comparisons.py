"""Comparisons: ask several models at once, read the answers as they grow, go on, stop."""

import time
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app import answers, held_out
from app.answers import Answers
from app.dispatch import GENERATE_QUEUE
from app.presence import worker_missing
from app.rest.caller import Caller
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.comparisons import Ask, ComparisonShown, ConversationShown, FollowUp, HeldOutShown
from app.rest.types import PathId
from app.store import comparisons, conversations
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session
from app.store.models import Comparison, Conversation
from app.text import MAX_ID
from app.views import answers_view

router = APIRouter(tags=["comparisons"])

LOOK_EVERY_SECONDS = 0.3
LONGEST_WAIT_SECONDS = 60

RunIds = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_ID)], ...],
    Query(max_length=4, description="The runs that answer."),
]
Letter = Annotated[str, Path(pattern="^[A-D]$", description="Letter of an answer, as shown.")]


@router.post("/comparisons", status_code=201, response_model=ComparisonShown)
def ask(once: OnceOnly, user: Caller, given: Ask) -> Response:
    """Ask the models of finished runs, and the reference they started from, one question with one seed."""

    def act() -> ComparisonShown:
        choices = answers.contenders_of_runs(given.run_ids, with_reference=given.include_reference)
        comparison = answers.begin(
            choices or [ContenderChoice(base_model=given.model)],
            given.prompt,
            user=user,
            blind=given.blind,
            seed=given.seed,
            decoding=Decoding(given.max_new_tokens, given.temperature, given.top_p),
            opening=[message.model_dump() for message in given.opening],
        )
        return _asked(comparison, user)

    return once.run(given, act)


@router.post("/conversations/{conversation_id}/comparisons", status_code=201, response_model=ComparisonShown)
def follow_up(once: OnceOnly, user: Caller, conversation_id: PathId, given: FollowUp) -> Response:
    """Put the next question of a conversation."""

    def act() -> ComparisonShown:
        comparison = answers.follow_up(conversation_id, given.prompt, continues_from=given.continues_from)
        return _asked(comparison, user)

    return once.run([conversation_id, given.model_dump()], act)


@router.get("/comparisons/{comparison_id}", response_model=ComparisonShown)
async def get_comparison(
    user: Caller,
    comparison_id: PathId,
    wait: Annotated[
        float,
        Query(
            ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for the answers."
        ),
    ] = 0,
) -> dict[str, Any]:
    """Read the answers as they stand, or wait for them to be over."""
    end = time.monotonic() + wait
    while True:
        present = await run_in_threadpool(answers.look, comparison_id, user=user)
        if present.over or time.monotonic() >= end:
            return _view(present)
        await anyio.sleep(LOOK_EVERY_SECONDS)


@router.post("/comparisons/{comparison_id}/stop", response_model=ComparisonShown)
def stop(user: Caller, comparison_id: PathId) -> dict[str, Any]:
    """Stop the answers that are not over."""
    answers.stop(comparison_id)
    return _view(answers.look(comparison_id, user=user))


@router.post("/comparisons/{comparison_id}/answers/{letter}/stop", response_model=ComparisonShown)
def stop_answer(user: Caller, comparison_id: PathId, letter: Letter) -> dict[str, Any]:
    """Stop one answer."""
    answers.stop(comparison_id, "ABCD".index(letter))
    return _view(answers.look(comparison_id, user=user))


@router.post("/comparisons/{comparison_id}/answers/{letter}/regenerate", response_model=ComparisonShown)
def regenerate(user: Caller, comparison_id: PathId, letter: Letter) -> dict[str, Any]:
    """Ask one model again, with the next seed; not after a vote."""
    answers.regenerate(comparison_id, "ABCD".index(letter))
    return _view(answers.look(comparison_id, user=user))


@router.post("/comparisons/{comparison_id}/names", response_model=ComparisonShown)
def show_names(user: Caller, comparison_id: PathId) -> dict[str, Any]:
    """See who answered without a vote; a later vote of yours on it does not count as blind."""
    answers.show_names(comparison_id, user=user)
    return _view(answers.look(comparison_id, user=user))


@router.get("/prompts/held-out", response_model=HeldOutShown)
def held_out_prompt(run_ids: RunIds = ()) -> dict[str, Any]:
    """Draw a prompt, with its history, that no run was trained on; POST /comparisons asks it."""
    drawn = held_out.random_prompt([ContenderChoice(run_id=run_id) for run_id in run_ids])
    return {"opening": drawn.opening, "prompt": drawn.question}


@router.get("/conversations", response_model=Page[ConversationShown])
def list_conversations(user: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List your conversations, newest first."""
    with read_session() as session:
        found = conversations.recent(session=session, user=user, limit=limit + 1, before=place_of(cursor))
        shown, following = cut(found, limit, lambda conversation: conversation.id)
        turns = comparisons.turn_ids([conversation.id for conversation in shown], session=session)
    items = [_conversation(conversation, turns[conversation.id]) for conversation in shown]
    return {"items": items, "next": following}


@router.get("/conversations/{conversation_id}", response_model=ConversationShown)
def get_conversation(conversation_id: PathId) -> dict[str, Any]:
    """Say which questions a conversation has."""
    with read_session() as session:
        found = conversations.get(conversation_id, session=session)
        turns = comparisons.turn_ids([conversation_id], session=session)
    return _conversation(found, turns[conversation_id])


def _conversation(found: Conversation, comparison_ids: list[int]) -> dict[str, Any]:
    return {
        "id": found.id,
        "blind": found.blind,
        "created_at": found.created_at,
        "comparison_ids": comparison_ids,
    }


def _asked(comparison: Comparison, user: str) -> ComparisonShown:
    note = worker_missing(GENERATE_QUEUE) or ""
    return ComparisonShown.model_validate({**_view(answers.look(comparison.id, user=user)), "note": note})


def _view(present: Answers) -> dict[str, Any]:
    return {**answers_view(present), "over": present.over}
