"""The votes of a campaign by voter, task and pair of models, as measures of their quality read them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.enums import Outcome
from app.store.models import Comparison, Label, LabelPair, Task, User


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


def of_campaign(campaign_id: int, *, session: Session) -> Sequence[Judgement]:
    """All votes of a campaign by task, in the order in which they were cast."""
    query = (
        select(
            Label.id,
            Task.number,
            LabelPair.first_id,
            LabelPair.second_id,
            LabelPair.outcome,
            User.name,
            Label.seconds,
            Label.first_side,
            Label.longer,
        )
        .join(Label, LabelPair.label_id == Label.id)
        .join(Comparison, Label.comparison_id == Comparison.id)
        .join(Task, Task.comparison_id == Comparison.id)
        .join(User, Label.user_id == User.id)
        .where(Comparison.campaign_id == campaign_id)
        .order_by(Task.number, Label.id, LabelPair.first_id, LabelPair.second_id)
    )
    return [Judgement(*row) for row in session.execute(query)]
