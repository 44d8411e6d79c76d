"""Tables of campaigns: prompts answered ahead of time, and judged by several people."""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base
from app.store.enums import (
    CampaignForm,
    CampaignOrder,
    CampaignStatus,
    Choice,
    SlotKind,
    SlotStatus,
    TaskStatus,
)


class Campaign(Base):
    """A set of prompts that contenders answer and people judge.

    Each prompt is a blind conversation with one question; `conversations.campaign_id` refers to the campaign.
    `voters` lists the names of those who may vote; empty means everybody. Each comparison gets votes from
    `votes_wanted` people. Workers add to `answered` and `answering_seconds`: the number of answers that they
    wrote for it and the time that they took, which predict the time left.

    `repeat_share` and `check_share` are the controls of a person (see controls.py) per ordinary comparison;
    only slots with an id above `controls_from` count. `control_seed` is shown to nobody. `aspects` are the
    names of what each vote is asked besides the better answer. `adjudicators` lists the names of those who
    may decide disagreements, besides the owner. `prompts_traced` tells that the datasets of its prompts are
    recorded (`CampaignDataset`).
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
    aspects: Mapped[list[Any]] = mapped_column(default=list)
    adjudicators: Mapped[list[Any]] = mapped_column(default=list)
    repeat_share: Mapped[float] = mapped_column(default=0.0)
    check_share: Mapped[float] = mapped_column(default=0.0)
    control_seed: Mapped[int] = mapped_column(default=lambda: secrets.randbelow(2**31))
    controls_from: Mapped[int] = mapped_column(default=0)
    answered: Mapped[int] = mapped_column(default=0)
    answering_seconds: Mapped[float] = mapped_column(default=0.0)
    prompts_traced: Mapped[bool] = mapped_column(default=True, server_default=false())
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

    A slot of another kind than TASK is a control: it takes no place, and its verdict is no label.
    `answer_ids` holds the generations that an attention check shows, in display order; null for other kinds.
    """

    __tablename__ = "campaign_slots"
    __table_args__ = (
        UniqueConstraint("comparison_id", "user_id", "kind"),
        Index(None, "user_id", "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("campaign_tasks.comparison_id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[SlotKind] = mapped_column(default=SlotKind.TASK)
    status: Mapped[SlotStatus] = mapped_column(default=SlotStatus.OPEN)
    shown_order: Mapped[list[Any]]
    answer_ids: Mapped[list[Any] | None]
    until: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(default=clock.now())


class ControlVote(Base):
    """A person's verdict on a control. The one that is not withdrawn counts; earlier ones are kept.

    `best_id`, `worst_id` and `shown` are generations, as in a label.
    """

    __tablename__ = "control_votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    slot_id: Mapped[int] = mapped_column(ForeignKey("campaign_slots.id", ondelete="CASCADE"), index=True)
    choice: Mapped[Choice]
    best_id: Mapped[int | None]
    worst_id: Mapped[int | None]
    shown: Mapped[list[Any]]
    aspects: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reason: Mapped[str] = mapped_column(Text, default="")
    seconds: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    withdrawn_at: Mapped[datetime | None]
