"""Setup for tests of campaigns: a campaign of finished runs, and answers as a worker would write them."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from app import campaign_prompts, campaigns
from app.campaigns import NewCampaign
from app.store import campaign_tasks, comparisons
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus
from app.store.models import Comparison, Task
from tests.app.arena import add_run

Text = Callable[[int, int], str]


def choices(count: int) -> list[ContenderChoice]:
    """The reference and new runs, `count` contenders in all."""
    with write_session() as session:
        runs = [add_run(session, "dpo" if at % 2 == 0 else "hypo").id for at in range(count - 1)]
    return [ContenderChoice(base_model="demo"), *(ContenderChoice(run_id=run_id) for run_id in runs)]


def create(
    *, prompts: Sequence[Any] = ("One?", "Two?"), contenders: int = 2, user: str = "local", **given: Any
) -> int:
    """Create a campaign whose answers are not written yet."""
    new = NewCampaign(
        **{
            "name": "Which is better?",
            "choices": choices(contenders),
            "prompts": campaign_prompts.checked(prompts),
            "seed": 7,
            **given,
        }
    )
    return campaigns.create(new, user=user)


def different(number: int, position: int) -> str:
    return f"Answer {position} to question {number}."


def write_answers(
    campaign_id: int, text: Text = different, *, failed: Sequence[tuple[int, int]] = ()
) -> None:
    """Write all answers of a campaign and settle its tasks.

    Args:
        text: maps the number of a prompt, from 0, and a contender's position to the answer.
        failed: (prompt, position) of answers that fail.
    """
    with write_session() as session:
        sources = session.scalars(
            select(Comparison.id)
            .where(Comparison.campaign_id == campaign_id, Comparison.source_id.is_(None))
            .order_by(Comparison.id)
        ).all()
        for number, comparison_id in enumerate(sources):
            for row in comparisons.answers(comparison_id, session=session):
                position = int(row.position or 0)
                row.status = GenerationStatus.FINISHED
                row.text = text(number, position)
                row.tokens = len(row.text.split())
                if (number, position) in failed:
                    row.status, row.error = GenerationStatus.FAILED, "It does not fit."
        campaign_tasks.settle(sources, session=session)


def ready(*, text: Text = different, **given: Any) -> int:
    """A campaign whose answers are written."""
    campaign_id = create(**given)
    write_answers(campaign_id, text)
    return campaign_id


def tasks(campaign_id: int) -> list[Task]:
    """The tasks of a campaign, in order."""
    with read_session() as session:
        query = select(Task).where(Task.campaign_id == campaign_id).order_by(Task.number)
        return list(session.scalars(query))
