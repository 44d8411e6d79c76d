"""Answers token by token, and pasted texts scored by several contenders."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from app import answer_tokens, answers, scored_texts
from app.errors import InvalidInput
from app.rest.caller import Caller
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.token_scores import AnswerTokensShown, ScoredTextListed, ScoredTextShown, TextToScore
from app.rest.types import PathId
from app.store import scorings
from app.store.conversations import ContenderChoice
from app.store.db import read_session
from app.store.enums import ScoringStatus
from app.token_views import opened_view, scores_view

router = APIRouter(tags=["scores"])

LOOK_EVERY_SECONDS = 0.3
LONGEST_WAIT_SECONDS = 60

Wait = Annotated[
    float,
    Query(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for the scores."),
]


@router.get("/generations/{generation_id}/tokens", response_model=AnswerTokensShown)
async def get_answer_tokens(user: Caller, generation_id: PathId, wait: Wait = 0) -> dict[str, Any]:
    """Read an answer token by token, as far as it is scored; a comparison's only once its names are shown."""

    def look() -> tuple[dict[str, Any], bool]:
        opened = answer_tokens.look(generation_id, user=user)
        waits = opened.scoring is not None and opened.scoring.status is ScoringStatus.QUEUED
        return opened_view(opened), not waits

    return await _waited(look, wait)


@router.post("/generations/{generation_id}/tokens", response_model=AnswerTokensShown)
def score_answer(user: Caller, generation_id: PathId) -> dict[str, Any]:
    """Have an answer scored token by token, once for all people; a scoring that failed is tried again."""
    answer_tokens.want(generation_id, user=user)
    return opened_view(answer_tokens.look(generation_id, user=user))


@router.post("/scored-texts", status_code=201, response_model=ScoredTextShown)
def score_text(once: OnceOnly, user: Caller, given: TextToScore) -> Response:
    """Score a text as the answer to a prompt, by each contender and by the reference that it started from."""

    def act() -> ScoredTextShown:
        if given.as_text and given.opening:
            raise InvalidInput("A prompt that is plain text has no opening; leave one out.", field="opening")
        choices = answers.contenders_of_runs(
            given.run_ids, with_reference=False, checkpoint_ids=given.checkpoint_ids
        )
        number = scored_texts.score(
            choices or [ContenderChoice(base_model=given.model)],
            given.prompt,
            given.text,
            user=user,
            opening=[message.model_dump() for message in given.opening],
            as_text=given.as_text,
        )
        return ScoredTextShown.model_validate(scores_view(scored_texts.look(number, user=user)))

    return once.run(given, act)


@router.get("/scored-texts", response_model=Page[ScoredTextListed])
def list_scored_texts(user: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the texts that you had scored, newest first."""
    with read_session() as session:
        found = scorings.recent_texts(user, session=session, limit=limit + 1, before=place_of(cursor))
    shown, following = cut(found, limit, lambda text: text.id)
    items = [
        {
            "id": text.id,
            "text": text.text,
            "contenders": [contender["name"] for contender in text.contenders],
            "created_at": text.created_at,
        }
        for text in shown
    ]
    return {"items": items, "next": following}


@router.get("/scored-texts/{scored_text_id}", response_model=ScoredTextShown)
async def get_scored_text(user: Caller, scored_text_id: PathId, wait: Wait = 0) -> dict[str, Any]:
    """Read the scores of a text of yours as they stand, or wait for them."""

    def look() -> tuple[dict[str, Any], bool]:
        scores = scored_texts.look(scored_text_id, user=user)
        return scores_view(scores), scores.over

    return await _waited(look, wait)


@router.post("/scored-texts/{scored_text_id}/retry", response_model=ScoredTextShown)
def retry_scored_text(user: Caller, scored_text_id: PathId) -> dict[str, Any]:
    """Try the scorings of a text again that failed."""
    scored_texts.try_again(scored_text_id, user=user)
    return scores_view(scored_texts.look(scored_text_id, user=user))


async def _waited(look: Callable[[], tuple[dict[str, Any], bool]], wait: float) -> dict[str, Any]:
    """What `look` returns once it is over, or when the time is up."""
    end = time.monotonic() + wait
    while True:
        shown, over = await run_in_threadpool(look)
        if over or time.monotonic() >= end:
            return shown
        await anyio.sleep(LOOK_EVERY_SECONDS)
