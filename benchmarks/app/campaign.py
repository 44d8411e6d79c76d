"""A campaign with written answers, for the calls that judge it."""

from sqlalchemy import update

from app import campaigns
from app.campaigns import NewCampaign
from app.store import campaign_items, campaign_tasks
from app.store.campaign_items import CampaignPrompt
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus
from app.store.models import Generation

PROMPTS = 300


def ready(run_ids: tuple[int, ...], user: str) -> int:
    """Create a campaign of these runs whose answers are written; returns its id."""
    choices = [ContenderChoice(run_id=run_id) for run_id in run_ids]
    campaign_id = campaigns.create(NewCampaign("Which is better?", choices, _prompts(PROMPTS)), user=user)
    return _written(campaign_id, len(run_ids))


def of_base_models(prompts: int, *, contenders: int, votes_wanted: int) -> int:
    """As `ready`, of base models that need no run."""
    choices = [ContenderChoice(base_model=f"model {number}") for number in range(contenders)]
    new = NewCampaign("Which is best?", choices, _prompts(prompts), votes_wanted=votes_wanted)
    return _written(campaigns.create(new), contenders)


def _prompts(count: int) -> list[CampaignPrompt]:
    return [CampaignPrompt([], f"Question {number} of the campaign?") for number in range(count)]


def _written(campaign_id: int, contenders: int) -> int:
    with read_session() as session:
        sources = campaign_items.comparison_ids(campaign_id, session=session)
    with write_session() as session:
        for position in range(contenders):
            written = {"status": GenerationStatus.FINISHED, "text": f"Answer {position}. " * 40, "tokens": 80}
            of_contender = (Generation.comparison_id.in_(sources), Generation.position == position)
            session.execute(update(Generation).where(*of_contender).values(**written))
        campaign_tasks.settle(sources, session=session)
    return campaign_id
