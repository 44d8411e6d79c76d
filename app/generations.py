"""Generations: what the page, the command line and the API do with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.store import generation_origins, generation_search, promotion, users
from app.store.db import read_session, write_session
from app.store.generation_filter import GenerationFilter, GenerationSort, Place
from app.store.generation_origins import Origin
from app.store.models import Comparison


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of generations, and the place where the next one begins; None on the last."""

    items: list[Origin]
    next: Place | None


def find(
    only: GenerationFilter,
    *,
    user: str = users.LOCAL,
    sort: GenerationSort = GenerationSort.NEWEST,
    ascending: bool = False,
    limit: int = 50,
    after: Place | None = None,
) -> Listed:
    """A page of the generations that match and that a user may see.

    Raises:
        InvalidInput: for a filter that cannot be searched for.
    """
    with read_session() as session:
        found = generation_search.find(
            only,
            session=session,
            viewer=user,
            sort=sort,
            ascending=ascending,
            limit=limit,
            after=after,
        )
        return Listed(generation_origins.of_ids(found.ids, session=session, viewer=user), found.next)


def get(generation_id: int, *, user: str = users.LOCAL) -> Origin:
    """One generation.

    Raises:
        NotFound: when there is none with this id that the user may see.
    """
    with read_session() as session:
        return generation_origins.get(generation_id, session=session, viewer=user)


def compare(generation_ids: Sequence[int], *, user: str = users.LOCAL) -> Comparison:
    """Make a comparison of two answers to the same prompt, which the compare page shows.

    Raises:
        AppError: as `promotion.promote`.
    """
    with write_session() as session:
        return promotion.promote(generation_ids, session=session, user=user)


def generation_view(one: Origin) -> dict[str, Any]:
    """A generation as plain values.

    While the names are hidden from the reader, every field that would reveal them is null.
    """
    row = one.generation
    contender = one.contender
    told = {
        "run_id": one.run_id,
        "step": row.step,
        "name": one.run.name if one.run is not None else contender.name if contender is not None else None,
        "method": one.run.method
        if one.run is not None
        else contender.method
        if contender is not None
        else None,
        "checkpoint_id": None if contender is None else contender.checkpoint_id,
        "tokens": row.tokens,
        "seconds": row.seconds,
        "policy_logp": row.policy_logp,
        "reference_logp": row.reference_logp,
        "log_ratio": row.log_ratio,
        "token_log_ratio": row.token_log_ratio,
        "score": row.score,
        "parameters": promotion.decoding(one),
    }
    comparison = one.comparison
    return {
        "id": row.id,
        "kind": row.kind.value,
        "origin": one.kind.value,
        "prompt_id": row.prompt_id,
        "prompt": row.prompt.content,
        "text": row.text,
        "status": row.status.value,
        "complete": row.complete,
        "seed": row.seed,
        "names_hidden": one.hidden,
        **(dict.fromkeys(told) if one.hidden else told),
        "comparison_id": None if comparison is None else comparison.id,
        "conversation_id": None if comparison is None else comparison.conversation_id,
        "campaign_id": None if comparison is None else comparison.campaign_id,
        "created_at": row.created_at.isoformat(),
    }
