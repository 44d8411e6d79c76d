"""A campaign with written answers, for the calls that judge it."""

from collections.abc import Sequence

from sqlalchemy import update

from app import campaigns, labelling
from app.campaigns import NewCampaign
from app.store import campaign_items, campaign_tasks
from app.store.campaign_items import CampaignPrompt
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus
from app.store.judging import LETTERS
from app.store.models import Generation
from app.store.slots import MOST_OPEN

PROMPTS = 300


def ready(run_ids: tuple[int, ...], user: str, *, prompts: int = PROMPTS, votes_wanted: int = 1) -> int:
    """Create a campaign of these runs whose answers are written; returns its id."""
    choices = [ContenderChoice(run_id=run_id) for run_id in run_ids]
    new = NewCampaign("Which is better?", choices, _prompts(prompts), votes_wanted=votes_wanted)
    return _written(campaigns.create(new, user=user), len(run_ids))


def disputed(run_ids: tuple[int, ...], user: str) -> int:
    """Create a small campaign whose two voters differ everywhere; returns its id."""
    campaign_id = ready(run_ids, user, prompts=MOST_OPEN, votes_wanted=2)
    for position, voter in enumerate(("voter-1", "voter-2")):
        for offer in labelling.take(campaign_id, user=voter, count=MOST_OPEN).offers:
            place = [text.startswith(f"Answer {position}.") for text in offer.answers].index(True)
            labelling.vote(offer.slot_id, LETTERS[place], user=voter)
    return campaign_id


def of_base_models(
    prompts: int, *, contenders: int, votes_wanted: int, texts: Sequence[str] | None = None
) -> int:
    """As `ready`, of base models that need no run.

    Args:
        texts: the answer of each contender to every prompt.
    """
    choices = [ContenderChoice(base_model=f"model {number}") for number in range(contenders)]
    new = NewCampaign("Which is best?", choices, _prompts(prompts), votes_wanted=votes_wanted)
    return _written(campaigns.create(new), contenders, texts)


def _prompts(count: int) -> list[CampaignPrompt]:
    return [CampaignPrompt([], f"Question {number} of the campaign?") for number in range(count)]


def _written(campaign_id: int, contenders: int, texts: Sequence[str] | None = None) -> int:
    with read_session() as session:
        sources = campaign_items.comparison_ids(campaign_id, session=session)
    with write_session() as session:
        for position in range(contenders):
            text = texts[position] if texts else f"Answer {position}. " * 40
            written = {"status": GenerationStatus.FINISHED, "text": text, "tokens": 80}
            of_contender = (Generation.comparison_id.in_(sources), Generation.position == position)
            session.execute(update(Generation).where(*of_contender).values(**written))
        campaign_tasks.settle(sources, session=session)
    return campaign_id
