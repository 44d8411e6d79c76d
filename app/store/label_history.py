"""The history of votes: earlier versions of changed and withdrawn votes."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Label
from app.store.vote_models import LabelVersion


def keep(label: Label, *, session: Session, withdrawn: bool = False) -> None:
    """Store the current version of a vote before it is changed or deleted."""
    session.add(
        LabelVersion(
            comparison_id=label.comparison_id,
            user_id=label.user_id,
            choice=label.choice,
            best_id=label.best_id,
            worst_id=label.worst_id,
            shown=list(label.shown),
            blind=label.blind,
            aspects=dict(label.aspects),
            reason=label.reason,
            seconds=label.seconds,
            withdrawn=withdrawn,
            given_at=label.updated_at,
        )
    )
    session.flush()


def of_comparisons(
    comparison_ids: Collection[int], *, session: Session
) -> dict[tuple[int, int], list[LabelVersion]]:
    """Earlier versions of the votes on comparisons, oldest first, by comparison and user."""
    query = select(LabelVersion).where(LabelVersion.comparison_id.in_(sorted(comparison_ids)))
    found: dict[tuple[int, int], list[LabelVersion]] = {}
    for version in session.scalars(query.order_by(LabelVersion.id)) if comparison_ids else ():
        found.setdefault((version.comparison_id, version.user_id), []).append(version)
    return found
