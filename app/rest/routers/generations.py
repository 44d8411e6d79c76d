"""Generations: search everything that was ever generated, and compare two of the answers."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from app import answers, generations
from app.generations import generation_view
from app.rest.caller import Caller
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page
from app.rest.schemas.comparisons import ComparisonShown
from app.rest.schemas.generations import CompareGenerations, GenerationShown
from app.rest.types import Id, PathId
from app.store.enums import GenerationKind
from app.store.generation_filter import (
    MOST_RUNS,
    GenerationFilter,
    GenerationOrigin,
    GenerationSort,
    Place,
)
from app.store.search_words import MOST_CHARS
from app.text import MAX_ID
from app.views import answers_view

router = APIRouter(tags=["generations"])


@router.get("/generations", response_model=Page[GenerationShown])
def list_generations(
    user: Caller,
    text: Annotated[
        str,
        Query(
            max_length=MOST_CHARS,
            description='Words of the text; "a phrase", -word leaves out, wor* begins a word.',
        ),
    ] = "",
    prompt: Annotated[str, Query(max_length=MOST_CHARS, description="Words of the prompt.")] = "",
    prompt_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only this prompt.")] = None,
    run: Annotated[
        list[Id] | None,
        Query(
            max_length=MOST_RUNS, description="Only samples of these runs, and answers of their checkpoints."
        ),
    ] = None,
    kind: Annotated[list[GenerationKind] | None, Query(max_length=4, description="Only these kinds.")] = None,
    first_step: Annotated[
        int | None, Query(ge=0, le=MAX_ID, description="Only samples of this step or a later one.")
    ] = None,
    last_step: Annotated[
        int | None, Query(ge=0, le=MAX_ID, description="Only samples of this step or an earlier one.")
    ] = None,
    origin: Annotated[GenerationOrigin | None, Query(description="Where the text was generated.")] = None,
    campaign_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only answers of it.")] = None,
    sort: Annotated[GenerationSort, Query(description="What to sort by, the highest first.")] = (
        GenerationSort.NEWEST
    ),
    ascending: Annotated[bool, Query(description="The lowest first.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Search all generated texts: samples of runs, your chats, and answers of campaigns whose names you saw.

    Answers that you may still judge blind are not listed.
    """
    only = GenerationFilter(
        text=text,
        prompt_text=prompt,
        prompt_id=prompt_id,
        run_ids=tuple(run or ()),
        kinds=tuple(kind or ()),
        first_step=first_step,
        last_step=last_step,
        origin=origin,
        campaign_id=campaign_id,
    )
    found = generations.find(
        only, user=user, sort=sort, ascending=ascending, limit=limit, after=Place.read(cursor)
    )
    return {
        "items": [generation_view(one) for one in found.items],
        "next": None if found.next is None else str(found.next),
    }


@router.get("/generations/{generation_id}", response_model=GenerationShown)
def get_generation(user: Caller, generation_id: PathId) -> dict[str, Any]:
    """Read one generated text."""
    return generation_view(generations.get(generation_id, user=user))


@router.post("/generations/comparisons", status_code=201, response_model=ComparisonShown)
def compare_generations(once: OnceOnly, user: Caller, given: CompareGenerations) -> Response:
    """Make a blind comparison of two answers to the same prompt; you have seen its names, others have not."""

    def act() -> ComparisonShown:
        comparison = generations.compare(given.generations, user=user)
        present = answers.look(comparison.id, user=user)
        return ComparisonShown.model_validate({**answers_view(present), "over": present.over})

    return once.run(given, act)
