"""Campaigns with written answers, put into the database of a running app."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store import campaign_items, campaign_tasks, tokens, users
from app.store.campaign_items import CampaignPrompt
from app.store.db import make_engine
from app.store.enums import CampaignForm, CampaignOrder, GenerationStatus
from app.store.models import Campaign, Contender, Generation
from tests.e2e.conftest import App

NAME = "Walnut"
"""The contenders' name; the Label page never shows it."""

Text = Callable[[int, int], str]


def session_of(app: App) -> Session:
    return Session(make_engine(f"sqlite:///{app.home / 'hypo.db'}"), expire_on_commit=False)


def ready(
    app: App,
    prompts: Sequence[CampaignPrompt | str],
    *,
    contenders: int = 2,
    text: Text = lambda number, position: f"Answer {position} to question {number}.",
    written: bool = True,
    **given: Any,
) -> int:
    """Add a campaign in one transaction, so that no worker sees its answers unwritten."""
    asked = [CampaignPrompt([], one) if isinstance(one, str) else one for one in prompts]
    values = {
        "name": "Which is better?",
        "form": CampaignForm.PAIRS,
        "order": CampaignOrder.IN_ORDER,
        "votes_wanted": 1,
        "samples": 1,
        "seed": 7,
        "parameters": {"max_new_tokens": 8, "temperature": 0.7, "top_p": 1.0},
        "voters": [],
    }
    chosen = [
        Contender(position=at, base_model="demo", name=f"{NAME} {at}", method="dpo")
        for at in range(contenders)
    ]
    with session_of(app) as session, session.begin():
        owner = users.ensure("local", session=session)
        campaign = Campaign(**{**values, **given}, user_id=owner.id)
        session.add(campaign)
        session.flush()
        sources = campaign_items.add(campaign, chosen, asked, session=session)
        for number, source in enumerate(sources, start=1):
            of_source = select(Generation).where(Generation.comparison_id == source)
            for row in session.scalars(of_source):
                row.text = text(number, int(row.position or 0))
                row.status, row.tokens = GenerationStatus.FINISHED, 8
        if written:
            campaign_tasks.settle(sources, session=session)
        return campaign.id


def token(app: App, user: str) -> str:
    """A token, which makes a browser's calls those of another person."""
    with session_of(app) as session, session.begin():
        return tokens.create(user, session=session)[1]


def votes(app: App, campaign_id: int) -> list[tuple[str, str, str | None, str]]:
    """The votes of a campaign: question, choice, the best answer's text, and the reason; by question."""
    rows = app.rows(
        "SELECT c.question, l.choice, g.text, l.reason FROM labels l"
        " JOIN comparisons c ON c.id = l.comparison_id LEFT JOIN generations g ON g.id = l.best_id"
        " WHERE c.campaign_id = ? ORDER BY c.id",
        campaign_id,
    )
    return [(row["question"], row["choice"], row["text"], row["reason"]) for row in rows]


def aspects(app: App, campaign_id: int) -> list[dict[str, int | str]]:
    """What the votes of a campaign say of its aspects, in their order: the answer's number, or a word."""
    rows = app.rows(
        "SELECT l.aspects, l.shown FROM labels l JOIN comparisons c ON c.id = l.comparison_id"
        " WHERE c.campaign_id = ? ORDER BY l.id",
        campaign_id,
    )
    found = []
    for row in rows:
        shown = json.loads(row["shown"])
        said = json.loads(row["aspects"])
        found.append({name: 1 + shown.index(at) if at in shown else at for name, at in said.items()})
    return found
