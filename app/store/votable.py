"""Load a comparison and its answers for a vote, in two statements, with only the columns that it needs."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, contains_eager, defer, lazyload

from app.errors import NotFound
from app.store.models import Comparison, Conversation, Generation

# Statements are built only once: building one takes as long as executing it.
_LOCK = (
    select(Comparison)
    .join(Comparison.conversation)
    .options(contains_eager(Comparison.conversation).lazyload(Conversation.contenders))
    .where(Comparison.id == bindparam("comparison"))
    .with_for_update(of=Conversation)
    .execution_options(populate_existing=True)
)
_ANSWERS = (
    select(Generation)
    .options(lazyload(Generation.prompt), defer(Generation.token_logps), defer(Generation.parameters))
    .where(Generation.comparison_id == bindparam("comparison"))
    .order_by(Generation.take)
)


def lock(comparison_id: int, *, session: Session) -> Comparison:
    """Lock a comparison's conversation against other writers, and return the comparison's current state.

    Raises:
        NotFound: when the id does not exist.
    """
    comparison = session.scalars(_LOCK, {"comparison": comparison_id}).one_or_none()
    if comparison is None:
        raise NotFound(f"There is no comparison {comparison_id}.")
    return comparison


def answers(
    comparison: Comparison, *, session: Session, order: Sequence[int] | None = None
) -> list[Generation]:
    """The last take of each answer, in display order, without its prompt and its token log-probabilities.

    Args:
        order: the voter's own display order, as positions of contenders; by default the comparison's.
    """
    rows = session.scalars(_ANSWERS, {"comparison": comparison.answered_by})
    last = {row.position: row for row in rows}
    return [last[position] for position in order or comparison.shown_order if position in last]
