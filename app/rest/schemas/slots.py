"""Slots: comparisons of a campaign that a person judges, blind."""

from typing import Any

from pydantic import Field

from app.i18n import in_language
from app.labelling import Offer, Taken
from app.markdown import to_html
from app.rest.schemas.votes import VoteCast
from app.rest.types import Name, Shown
from app.store.aspects import in_letters
from app.store.enums import CampaignForm, CampaignStatus, Choice
from app.store.judging import LETTERS
from app.store.models import Campaign, ControlVote, Label


class AnswerToJudge(Shown):
    """An answer without its author."""

    letter: str = Field(description="The letter to vote for, in your order of the answers.")
    text: str
    html: str = Field(description="The text as Markdown, rendered to HTML that is safe to show.")


class SlotShown(Shown):
    """A comparison that is yours to judge."""

    id: int
    campaign_id: int
    opening: list[dict[str, Any]] = Field(description="The messages before the question.")
    question: str
    question_html: str
    answers: list[AnswerToJudge]

    @classmethod
    def of(cls, offer: Offer) -> "SlotShown":
        """The offer with its texts as HTML."""
        return cls(
            id=offer.slot_id,
            campaign_id=offer.campaign_id,
            opening=[dict(message) for message in offer.opening],
            question=offer.question,
            question_html=to_html(offer.question),
            answers=[
                AnswerToJudge(letter=letter, text=text, html=to_html(text))
                for letter, text in zip(LETTERS, offer.answers, strict=False)
            ],
        )


class SlotVoteCast(VoteCast):
    """A vote on a slot, with the campaign's aspects."""

    aspects: dict[Name, Name] = Field(
        default_factory=dict,
        max_length=5,
        description="For each aspect: letter of the best answer, `tie`, or `not applicable`. One that is "
        "missing was not asked.",
    )


class SlotVote(Shown):
    """Your verdict on a slot, as it was stored."""

    slot_id: int
    choice: Choice
    best_letter: str | None = Field(description="Letter of the best answer.")
    worst_letter: str | None
    aspects: dict[str, str] = Field(description="What you said of each aspect.")
    reason: str
    seconds: float | None

    @classmethod
    def of(cls, slot_id: int, vote: Label | ControlVote) -> "SlotVote":
        """The stored verdict, without what tells a label from a control."""
        letters = dict(zip(vote.shown, LETTERS, strict=False))
        return cls(
            slot_id=slot_id,
            best_letter=letters.get(vote.best_id),
            worst_letter=letters.get(vote.worst_id),
            aspects=in_letters(vote.aspects, vote.shown),
            **{name: getattr(vote, name) for name in ("choice", "reason", "seconds")},
        )


class OwnProgress(Shown):
    """Where you stand in a campaign."""

    voted: int
    skipped: int
    left: int = Field(description="Comparisons that you can still get, with those that you hold.")


class CampaignToJudge(Shown):
    """What voters know of a campaign. The contenders are not named."""

    id: int
    name: str
    form: CampaignForm
    ask_reason: bool
    aspects: list[str] = Field(description="What is asked after the vote, one after the other.")
    guidelines: str
    guidelines_html: str

    @classmethod
    def of(cls, campaign: Campaign) -> "CampaignToJudge":
        """The campaign with its guidelines as HTML."""
        same = ("id", "name", "form", "ask_reason", "aspects", "guidelines")
        return cls(
            **{name: getattr(campaign, name) for name in same},
            guidelines_html=to_html(campaign.guidelines),
        )


class SlotsTaken(Shown):
    """Your slots, the next one first."""

    campaign: CampaignToJudge
    status: CampaignStatus
    slots: list[SlotShown]
    mine: OwnProgress
    waiting: int = Field(description="Comparisons whose answers are still being written.")
    note: str = Field(description="Why there are no slots; empty with slots.")

    @classmethod
    def of(cls, taken: Taken, campaign: Campaign) -> "SlotsTaken":
        """What was taken, with the campaign that it belongs to."""
        mine = taken.mine
        return cls(
            campaign=CampaignToJudge.of(campaign),
            status=taken.status,
            slots=[SlotShown.of(offer) for offer in taken.offers],
            mine=OwnProgress(voted=mine.voted, skipped=mine.skipped, left=mine.left),
            waiting=taken.waiting,
            note=in_language(taken.note),
        )
