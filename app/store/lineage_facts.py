"""Rows that describe the things of the lineage, for several of them at once."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.contenders import was_deleted
from app.store.lineage import count_untold
from app.store.models import (
    Campaign,
    CampaignDataset,
    Checkpoint,
    Comparison,
    Contender,
    Conversation,
    Dataset,
    DatasetVotes,
    Label,
    Run,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The contenders of a campaign, and its prompts.

    `others` are the names of contenders that are no run of ours, and `deleted` those whose run was deleted.
    """

    contenders: int
    others: tuple[str, ...]
    deleted: tuple[str, ...]
    prompts: int
    of_datasets: int


@dataclass(frozen=True, slots=True)
class Chats:
    """Conversations of the compare page whose votes became pairs of a dataset.

    `untold` counts those whose contenders are hidden from the reader.
    """

    conversations: int
    pairs: int
    untold: int


def datasets(ids: Collection[int], *, session: Session) -> list[Dataset]:
    return list(session.scalars(select(Dataset).where(Dataset.id.in_(ids)).order_by(Dataset.id)))


def voted_datasets(ids: Collection[int], *, session: Session) -> set[int]:
    """Those of some datasets whose votes are recorded."""
    query = select(DatasetVotes.dataset_id).where(DatasetVotes.dataset_id.in_(ids)).distinct()
    return set(session.scalars(query))


def runs(ids: Collection[int], *, session: Session) -> list[Run]:
    return list(session.scalars(select(Run).where(Run.id.in_(ids)).order_by(Run.id)))


def checkpoints(ids: Collection[int], *, session: Session) -> list[tuple[Checkpoint, Run]]:
    query = select(Checkpoint, Run).join(Run, Checkpoint.run_id == Run.id)
    rows = session.execute(query.where(Checkpoint.id.in_(ids)).order_by(Checkpoint.id))
    return [(checkpoint, run) for checkpoint, run in rows]


def campaigns(ids: Collection[int], *, session: Session) -> list[Campaign]:
    return list(session.scalars(select(Campaign).where(Campaign.id.in_(ids)).order_by(Campaign.id)))


def asked(found: Iterable[Campaign], *, session: Session) -> dict[int, Asked]:
    """Contenders and prompts of campaigns."""
    samples = {campaign.id: campaign.samples for campaign in found}
    items = _pairs(
        select(Conversation.campaign_id, func.count())
        .where(Conversation.campaign_id.in_(samples))
        .group_by(Conversation.campaign_id),
        session,
    )
    drawn = _pairs(
        select(CampaignDataset.campaign_id, func.sum(CampaignDataset.prompts))
        .where(CampaignDataset.campaign_id.in_(samples))
        .group_by(CampaignDataset.campaign_id),
        session,
    )
    first = select(func.min(Conversation.id)).where(Conversation.campaign_id.in_(samples))
    query = (
        select(Conversation.campaign_id, Contender)
        .join(Contender, Contender.conversation_id == Conversation.id)
        .where(Conversation.id.in_(first.group_by(Conversation.campaign_id)))
        .order_by(Contender.position)
    )
    seats: dict[int, list[Contender]] = {campaign_id: [] for campaign_id in samples}
    rows: Any = session.execute(query)
    for campaign_id, contender in rows:
        seats[campaign_id].append(contender)
    return {
        campaign_id: Asked(
            len(seats[campaign_id]),
            tuple(one.name for one in seats[campaign_id] if one.run_id is None and not _deleted(one)),
            tuple(one.name for one in seats[campaign_id] if _deleted(one)),
            items.get(campaign_id, 0) // count,
            int(drawn.get(campaign_id, 0)),
        )
        for campaign_id, count in samples.items()
    }


def _deleted(contender: Contender) -> bool:
    return was_deleted(contender.method, contender.run_id)


def votes(campaign_ids: Collection[int], *, session: Session) -> dict[int, int]:
    """The number of votes of each campaign."""
    query = select(Comparison.campaign_id, func.count()).join(Label, Label.comparison_id == Comparison.id)
    query = query.where(Comparison.campaign_id.in_(campaign_ids)).group_by(Comparison.campaign_id)
    return {**dict.fromkeys(campaign_ids, 0), **_pairs(query, session)}


def chats(dataset_ids: Collection[int], viewer: str, *, session: Session) -> dict[int, Chats]:
    """The conversations of the compare page whose votes became pairs, by dataset."""
    query = (
        select(DatasetVotes.dataset_id, func.count(), func.sum(DatasetVotes.pairs))
        .join(Conversation, DatasetVotes.conversation_id == Conversation.id)
        .where(DatasetVotes.dataset_id.in_(dataset_ids), Conversation.campaign_id.is_(None))
        .group_by(DatasetVotes.dataset_id)
    )
    untold = count_untold(dataset_ids, viewer, session=session)
    rows = session.execute(query)
    return {dataset: Chats(count, int(pairs), untold.get(dataset, 0)) for dataset, count, pairs in rows}


def _pairs(query: Any, session: Session) -> dict[int, Any]:
    return {key: value for key, value in session.execute(query)}
