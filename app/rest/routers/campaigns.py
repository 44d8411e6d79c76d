"""Campaigns: create, list, follow, change, extend."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app import answers, campaign_prompts, campaigns, given_answers
from app.campaigns import NewCampaign
from app.errors import InvalidInput
from app.presence import worker_missing
from app.rest.caller import Caller
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.campaigns import (
    AnswersGiven,
    CampaignEdit,
    CampaignShown,
    CampaignWanted,
    MorePrompts,
)
from app.rest.schemas.comparisons import Message
from app.rest.types import PathId
from app.store.campaign_items import CampaignPrompt, GivenAnswers
from app.store.conversations import MAX_CONTENDERS, ContenderChoice, Decoding
from app.views import campaign_view

router = APIRouter(prefix="/campaigns", tags=["campaigns"])

MOST_ANSWER_BYTES = 32 << 20
"""Largest body of a call that may give answers or prompts."""


@router.get("", response_model=Page[CampaignShown])
def list_campaigns(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List campaigns, newest first."""
    found = campaigns.overviews(limit=limit + 1, before=place_of(cursor))
    shown, following = cut(found, limit, lambda overview: overview.campaign.id)
    return {"items": [campaign_view(overview) for overview in shown], "next": following}


@router.post("", status_code=201, response_model=CampaignShown, max_body_size=MOST_ANSWER_BYTES)
def create_campaign(once: OnceOnly, user: Caller, given: CampaignWanted) -> Response:
    """Start a campaign: the models answer all prompts, and people judge the answers as they are written."""

    def act() -> CampaignShown:
        return _shown(campaigns.create(_wanted(given), user=user))

    return once.run(given, act)


@router.get("/{campaign_id}", response_model=CampaignShown)
def get_campaign(campaign_id: PathId) -> dict[str, Any]:
    """Say how far a campaign is: answers written, votes by pair and by person."""
    return campaign_view(campaigns.overview(campaign_id))


@router.patch("/{campaign_id}", response_model=CampaignShown)
def edit_campaign(user: Caller, campaign_id: PathId, given: CampaignEdit) -> CampaignShown:
    """Edit, pause, resume or close a campaign of yours, or ask for more votes on each comparison."""
    changes = given.model_dump(exclude_none=True, exclude={"status"})
    if changes:
        campaigns.edit(campaign_id, user=user, **changes)
    if given.status is not None:
        campaigns.set_status(campaign_id, given.status, user=user)
    return _shown(campaign_id)


@router.post(
    "/{campaign_id}/prompts", status_code=201, response_model=CampaignShown, max_body_size=MOST_ANSWER_BYTES
)
def add_campaign_prompts(once: OnceOnly, user: Caller, campaign_id: PathId, given: MorePrompts) -> Response:
    """Add prompts to a campaign of yours."""

    def act() -> CampaignShown:
        choices = campaigns.overview(campaign_id).choices
        campaigns.add_prompts(campaign_id, _prompts(given, choices), user=user)
        return _shown(campaign_id)

    return once.run([campaign_id, given.model_dump()], act)


@router.post("/{campaign_id}/names", response_model=CampaignShown)
def show_campaign_names(user: Caller, campaign_id: PathId) -> CampaignShown:
    """See who wrote which answer; you cannot vote in this campaign afterwards."""
    campaigns.show_names(campaign_id, user=user)
    return _shown(campaign_id)


# --- reading requests ------------------------------------------------------------------------


def _wanted(given: CampaignWanted) -> NewCampaign:
    choices = _contenders(given)
    answered = [_answers(one) for one in given.answers]
    named = given.prompts or given.dataset_id is not None
    return NewCampaign(
        name=given.name,
        choices=choices,
        prompts=_prompts(given, choices) if named or not answered else given_answers.prompts_of(answered),
        answers=answered,
        only_answered=given.only_answered,
        decoding=Decoding(given.max_new_tokens, given.temperature, given.top_p),
        samples=given.samples,
        votes_wanted=given.votes_wanted,
        form=given.form,
        order=given.order,
        guidelines=given.guidelines,
        ask_reason=given.ask_reason,
        voters=given.voters,
        aspects=given.aspects,
        adjudicators=given.adjudicators,
        repeat_share=given.repeat_share,
        check_share=given.check_share,
        seed=given.seed,
    )


def _contenders(given: CampaignWanted) -> list[ContenderChoice]:
    choices = answers.contenders_of_runs(
        given.run_ids, checkpoint_ids=given.checkpoint_ids, with_reference=given.include_reference
    )
    if given.model is not None:
        choices.append(ContenderChoice(base_model=given.model))
    choices += answers.contenders_of_endpoints(given.endpoints)
    count = len(choices) + len(given.answers)
    if not 2 <= count <= MAX_CONTENDERS:
        raise InvalidInput(
            f"A campaign compares 2 to {MAX_CONTENDERS} contenders, and this call names {count}; "
            "change run_ids, checkpoint_ids, include_reference, model, endpoints or answers.",
            field="run_ids",
        )
    return choices


def _prompts(given: CampaignWanted | MorePrompts, choices: Sequence[ContenderChoice]) -> list[CampaignPrompt]:
    """The prompts of a call, which names a dataset or lists them.

    Raises:
        InvalidInput: for both or neither, and for prompts that cannot be asked.
    """
    if (given.dataset_id is None) != bool(given.prompts):
        raise InvalidInput("Give either prompts or dataset_id.", field="prompts")
    if given.dataset_id is not None:
        return campaign_prompts.of_dataset(given.dataset_id, count=given.count, choices=choices)
    return campaign_prompts.checked(_plain(prompt) for prompt in given.prompts)


def _answers(given: AnswersGiven) -> GivenAnswers:
    rows = ({"prompt": _plain(row.prompt), "answer": row.answer} for row in given.rows)
    return given_answers.of_rows(given.name, enumerate(rows, start=1))


def _plain(prompt: str | list[Message]) -> str | list[dict[str, str]]:
    return prompt if isinstance(prompt, str) else [message.model_dump() for message in prompt]


def _shown(campaign_id: int) -> CampaignShown:
    overview = campaigns.overview(campaign_id)
    note = " ".join(filter(None, map(worker_missing, overview.queues)))
    return CampaignShown.model_validate({**campaign_view(overview), "note": note})
