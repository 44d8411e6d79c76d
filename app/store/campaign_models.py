"""Tables of campaigns: prompts answered ahead of time, and judged by several people."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus, SlotStatus, TaskStatus


class Campaign(Base):
    """A set of prompts that contenders answer and people judge.

    Each prompt is a blind conversation with one question; `conversations.campaign_id` refers to the campaign.
    `voters` lists the names of those who may vote; empty means everybody. Each comparison gets votes from
    `votes_wanted` people. Workers add to `answered` and `answering_seconds`: the number of answers that they
    wrote for it and the time that they took, which predict the time left.
    """

    __tablename__ = "campaigns"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(160))
    status: Mapped[CampaignStatus] = mapped_column(default=CampaignStatus.OPEN)
    form: Mapped[CampaignForm]
    order: Mapped[CampaignOrder]
    votes_wanted: Mapped[int]
    samples: Mapped[int]
    seed: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    guidelines: Mapped[str] = mapped_column(Text, default="")
    ask_reason: Mapped[bool] = mapped_column(default=False)
    voters: Mapped[list[Any]]
    answered: Mapped[int] = mapped_column(default=0)
    answering_seconds: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class Task(Base):
    """One comparison of a campaign that people judge: two contenders' answers, or those of all contenders.

    The row extends a comparison. `first` and `second` are the positions of a pair's contenders; both are null
    if all answers are judged together. `number` is the task's place in the campaign.
    """

    __tablename__ = "campaign_tasks"
    __table_args__ = (Index(None, "campaign_id", "status", "number"),)

    comparison_id: Mapped[int] = mapped_column(
        ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True
    )
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"))
    number: Mapped[int]
    status: Mapped[TaskStatus] = mapped_column(default=TaskStatus.WAITING)
    first: Mapped[int | None]
    second: Mapped[int | None]


class Slot(Base):
    """A person's place on a task. While it is open, nobody else gets that place.

    `shown_order` holds the contenders' positions in this person's display order. An open slot expires at
    `until` if the person has done nothing; a voted or skipped one is kept.
    """

    __tablename__ = "campaign_slots"
    __table_args__ = (UniqueConstraint("comparison_id", "user_id"), Index(None, "user_id", "status"))

    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("campaign_tasks.comparison_id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    status: Mapped[SlotStatus] = mapped_column(default=SlotStatus.OPEN)
    shown_order: Mapped[list[Any]]
    until: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(default=clock.now())
