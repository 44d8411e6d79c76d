"""The votes of a campaign by voter, task and pair of models, as measures of their quality read them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.enums import Outcome
from app.store.models import AspectPair, Comparison, Label, LabelPair, Task, User


class Judgement(NamedTuple):
    """A person's vote for two of the answers of a comparison.

    `first` and `second` are the answerers' ids, in the same order for everybody. `number` is the task's place
    in the campaign. The other fields are those of the whole vote: of several pairs, each repeats them.
    """

    label_id: int
    number: int
    first: int
    second: int
    outcome: Outcome
    person: str
    seconds: float | None
    first_side: bool | None
    longer: bool | None


def of_campaign(campaign_id: int, *, session: Session, aspect: str | None = None) -> Sequence[Judgement]:
    """All votes of a campaign by task, in the order in which they were cast.

    Args:
        aspect: read what the votes say of this aspect, instead of which answer is better.
    """
    pairs: type[LabelPair | AspectPair] = LabelPair if aspect is None else AspectPair
    query = (
        select(
            Label.id,
            Task.number,
            pairs.first_id,
            pairs.second_id,
            pairs.outcome,
            User.name,
            Label.seconds,
            Label.first_side,
            Label.longer,
        )
        .join(Label, pairs.label_id == Label.id)
        .join(Comparison, Label.comparison_id == Comparison.id)
        .join(Task, Task.comparison_id == Comparison.id)
        .join(User, Label.user_id == User.id)
        .where(Comparison.campaign_id == campaign_id)
        .order_by(Task.number, Label.id, pairs.first_id, pairs.second_id)
    )
    if aspect is not None:
        query = query.where(AspectPair.aspect == aspect)
    return [Judgement(*row) for row in session.execute(query)]
