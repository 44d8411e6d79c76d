"""Links of the lineage: what comes from what. Each function reads the links of several things at once.

A link leads from a thing to what was made with it. Votes of a campaign are one thing; those of the compare
page are one thing for each dataset that they became. Contenders of a blind conversation stay hidden from a
person as long as its names do; those of a campaign are on its page for everybody.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from app.store import starts
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
    NamesSeen,
    Run,
    User,
)
from hypo_engine.model_spec import PREFIX, is_run_model, parse_run_model


class Kind(StrEnum):
    """Kinds of things in the lineage."""

    SOURCE = "source"
    DATASET = "dataset"
    RUN = "run"
    CHECKPOINT = "checkpoint"
    CAMPAIGN = "campaign"
    VOTES = "votes"
    CHATS = "chats"


class Relation(StrEnum):
    """What a link means, read from a thing to what was made with it."""

    IMPORTED = "imported"
    LEFT_OUT = "left_out"
    TRAINED = "trained"
    REWARDED = "rewarded"
    STARTED = "started"
    SAVED = "saved"
    ANSWERED = "answered"
    ASKED = "asked"
    JUDGED = "judged"
    BECAME = "became_pairs"


class Thing(NamedTuple):
    """A thing of the lineage. Of votes the id is the campaign's, of chats and sources the dataset's."""

    kind: Kind
    id: int

    @property
    def key(self) -> str:
        """Its name in JSON, such as `run:12`."""
        return f"{self.kind.value}:{self.id}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link from a thing to what was made with it."""

    source: Thing
    target: Thing
    relation: Relation


def above(found: Collection[Thing], viewer: str, *, session: Session) -> list[Link]:
    """The links to some things from what they were made of."""
    ids = _by_kind(found)
    return [
        *_of_datasets(ids[Kind.DATASET], session),
        *_of_runs(ids[Kind.RUN], session),
        *_of_checkpoints(ids[Kind.CHECKPOINT], session),
        *_of_campaigns(ids[Kind.CAMPAIGN], session),
        *(
            Link(Thing(Kind.CAMPAIGN, one), Thing(Kind.VOTES, one), Relation.JUDGED)
            for one in ids[Kind.VOTES]
        ),
        *_of_chats(ids[Kind.CHATS], viewer, session),
    ]


def below(found: Collection[Thing], viewer: str, *, session: Session) -> list[Link]:
    """The links from some things to what was made with them."""
    ids = _by_kind(found)
    return [
        *_from_datasets(ids[Kind.DATASET], session),
        *_from_runs(ids[Kind.RUN], viewer, session),
        *_from_checkpoints(ids[Kind.CHECKPOINT], viewer, session),
        *_from_campaigns(ids[Kind.CAMPAIGN], session),
        *_votes_to_datasets(Conversation.campaign_id.in_(ids[Kind.VOTES]), session),
        *(Link(Thing(Kind.CHATS, one), Thing(Kind.DATASET, one), Relation.BECAME) for one in ids[Kind.CHATS]),
    ]


def _by_kind(found: Collection[Thing]) -> dict[Kind, list[int]]:
    return {kind: sorted(thing.id for thing in found if thing.kind is kind) for kind in Kind}


# --- to what they were made of ----------------------------------------------------------------


def _of_datasets(ids: Sequence[int], session: Session) -> Iterator[Link]:
    parents = select(Dataset.id, Dataset.parent_id, Dataset.format).where(Dataset.id.in_(ids))
    rows = session.execute(parents).all() if ids else []
    voted = list(_votes_to_datasets(DatasetVotes.dataset_id.in_(ids), session)) if ids else []
    traced = {link.target.id for link in voted}
    for dataset_id, parent_id, _ in rows:
        dataset = Thing(Kind.DATASET, dataset_id)
        if parent_id is not None:
            yield Link(Thing(Kind.DATASET, parent_id), dataset, Relation.LEFT_OUT)
        elif dataset_id not in traced:
            yield Link(Thing(Kind.SOURCE, dataset_id), dataset, Relation.IMPORTED)
    yield from voted


def _votes_to_datasets(condition: ColumnElement[bool], session: Session) -> Iterator[Link]:
    query = (
        select(DatasetVotes.dataset_id, Conversation.campaign_id)
        .join(Conversation, DatasetVotes.conversation_id == Conversation.id)
        .where(condition)
        .distinct()
    )
    for dataset_id, campaign_id in session.execute(query):
        votes = Thing(Kind.CHATS, dataset_id) if campaign_id is None else Thing(Kind.VOTES, campaign_id)
        yield Link(votes, Thing(Kind.DATASET, dataset_id), Relation.BECAME)


def _of_runs(ids: Sequence[int], session: Session) -> Iterator[Link]:
    if not ids:
        return
    query = select(Run.id, Run.dataset_id, Run.depends_on_id).where(Run.id.in_(ids))
    for run_id, dataset_id, other in session.execute(query):
        run = Thing(Kind.RUN, run_id)
        yield Link(Thing(Kind.DATASET, dataset_id), run, Relation.TRAINED)
        if other is not None:
            yield Link(Thing(Kind.RUN, other), run, Relation.REWARDED)
    yield from (link for _, link in _starts(Run.id.in_(ids), session))


def _starts(condition: ColumnElement[bool], session: Session) -> Iterator[tuple[int, Link]]:
    """The links of runs that start from other runs' models (`starts.py`), with the other run."""
    query = select(Run.id, Run.base_model).where(condition, Run.base_model.startswith(PREFIX))
    named = {run_id: parse_run_model(name) for run_id, name in session.execute(query) if is_run_model(name)}
    others = {model.run for model in named.values() if model is not None}
    rows: Any = session.execute(
        select(Checkpoint.run_id, Checkpoint.step, Checkpoint.id)
        .where(Checkpoint.run_id.in_(others))
        .order_by(Checkpoint.step)
    )
    kept: dict[tuple[int, int | None], int] = {}
    for other, step, checkpoint_id in rows:
        kept[other, step] = kept[other, None] = checkpoint_id  # None is the last
    for run_id, model in named.items():
        if model is not None and (checkpoint := kept.get((model.run, model.step))) is not None:
            link = Link(Thing(Kind.CHECKPOINT, checkpoint), Thing(Kind.RUN, run_id), Relation.STARTED)
            yield model.run, link


def _of_checkpoints(ids: Sequence[int], session: Session) -> Iterator[Link]:
    query = select(Checkpoint.run_id, Checkpoint.id).where(Checkpoint.id.in_(ids))
    for run_id, checkpoint_id in session.execute(query) if ids else ():
        yield Link(Thing(Kind.RUN, run_id), Thing(Kind.CHECKPOINT, checkpoint_id), Relation.SAVED)


def _of_campaigns(ids: Sequence[int], session: Session) -> Iterator[Link]:
    if not ids:
        return
    asked = select(CampaignDataset.campaign_id, CampaignDataset.dataset_id)
    for campaign_id, dataset_id in session.execute(asked.where(CampaignDataset.campaign_id.in_(ids))):
        yield Link(Thing(Kind.DATASET, dataset_id), Thing(Kind.CAMPAIGN, campaign_id), Relation.ASKED)
    first = select(func.min(Conversation.id)).where(Conversation.campaign_id.in_(ids))
    first = first.group_by(Conversation.campaign_id)
    query = select(Conversation.campaign_id, Contender.run_id, Contender.checkpoint_id).join(
        Contender, Contender.conversation_id == Conversation.id
    )
    rows: Any = session.execute(query.where(Conversation.id.in_(first)))
    for campaign_id, run_id, checkpoint_id in rows:
        yield from _answered(run_id, checkpoint_id, Thing(Kind.CAMPAIGN, campaign_id))


def _of_chats(ids: Sequence[int], viewer: str, session: Session) -> Iterator[Link]:
    query = _contenders_of_chats().where(DatasetVotes.dataset_id.in_(ids), _told(viewer))
    for run_id, checkpoint_id, dataset_id in session.execute(query) if ids else ():
        yield from _answered(run_id, checkpoint_id, Thing(Kind.CHATS, dataset_id))


def _answered(run_id: int | None, checkpoint_id: int | None, where: Thing) -> Iterator[Link]:
    """A contender's link. A sample of a step without a checkpoint is linked to its run."""
    if checkpoint_id is not None:
        yield Link(Thing(Kind.CHECKPOINT, checkpoint_id), where, Relation.ANSWERED)
    elif run_id is not None:
        yield Link(Thing(Kind.RUN, run_id), where, Relation.ANSWERED)


# --- to what was made with them ---------------------------------------------------------------


def _from_datasets(ids: Sequence[int], session: Session) -> Iterator[Link]:
    if not ids:
        return
    children = select(Dataset.parent_id, Dataset.id).where(Dataset.parent_id.in_(ids))
    runs = select(Run.dataset_id, Run.id).where(Run.dataset_id.in_(ids), Run.deleted_at.is_(None))
    asked = select(CampaignDataset.dataset_id, CampaignDataset.campaign_id)
    asked = asked.where(CampaignDataset.dataset_id.in_(ids))
    queries: tuple[tuple[Any, Kind, Relation], ...] = (
        (children, Kind.DATASET, Relation.LEFT_OUT),
        (runs, Kind.RUN, Relation.TRAINED),
        (asked, Kind.CAMPAIGN, Relation.ASKED),
    )
    for query, kind, relation in queries:
        for dataset_id, made in session.execute(query):
            yield Link(Thing(Kind.DATASET, dataset_id), Thing(kind, made), relation)


def _from_runs(ids: Sequence[int], viewer: str, session: Session) -> Iterator[Link]:
    if not ids:
        return
    waiting = select(Run.depends_on_id, Run.id).where(Run.depends_on_id.in_(ids), Run.deleted_at.is_(None))
    rows: Any = session.execute(waiting)
    for run_id, other in rows:
        yield Link(Thing(Kind.RUN, run_id), Thing(Kind.RUN, other), Relation.REWARDED)
    for other, link in _started(ids, session):
        yield link
        yield Link(Thing(Kind.RUN, other), link.source, Relation.SAVED)
    yield from _from_contenders(Contender.run_id.in_(ids), viewer, session, by_run=True)


def _from_checkpoints(ids: Sequence[int], viewer: str, session: Session) -> Iterator[Link]:
    if not ids:
        return
    saved = session.scalars(select(Checkpoint.run_id).where(Checkpoint.id.in_(ids)).distinct())
    for _, link in _started(saved.all(), session):
        if link.source.id in ids:
            yield link
    yield from _from_contenders(Contender.checkpoint_id.in_(ids), viewer, session)


def _started(run_ids: Sequence[int], session: Session) -> Iterator[tuple[int, Link]]:
    """The links of runs that start from one of these runs, with that run."""
    named = starts.starts_from(run_ids, session=session)
    return _starts(and_(named, Run.deleted_at.is_(None)), session)


def _from_contenders(
    condition: ColumnElement[bool], viewer: str, session: Session, *, by_run: bool = False
) -> Iterator[Link]:
    """Where contenders answered. By run, their checkpoints come in between."""
    asked = (
        select(Contender.run_id, Contender.checkpoint_id, Conversation.campaign_id)
        .join(Conversation, Contender.conversation_id == Conversation.id)
        .where(condition, Conversation.campaign_id.is_not(None))
        .distinct()
    )
    chats = _contenders_of_chats().where(condition, _told(viewer))
    for query, kind in ((asked, Kind.CAMPAIGN), (chats, Kind.CHATS)):
        for run_id, checkpoint_id, where in session.execute(query):
            yield from _answered(run_id, checkpoint_id, Thing(kind, where))
            if by_run and checkpoint_id is not None:
                yield Link(Thing(Kind.RUN, run_id), Thing(Kind.CHECKPOINT, checkpoint_id), Relation.SAVED)


def _from_campaigns(ids: Sequence[int], session: Session) -> Iterator[Link]:
    voted = (
        select(Comparison.id)
        .join(Label, Label.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == Campaign.id)
    )
    became = (
        select(DatasetVotes.dataset_id)
        .join(Conversation, DatasetVotes.conversation_id == Conversation.id)
        .where(Conversation.campaign_id == Campaign.id)
    )
    query = select(Campaign.id).where(Campaign.id.in_(ids), voted.exists() | became.exists())
    for campaign_id in session.scalars(query) if ids else ():
        yield Link(Thing(Kind.CAMPAIGN, campaign_id), Thing(Kind.VOTES, campaign_id), Relation.JUDGED)


def _contenders_of_chats() -> Any:
    """Run, checkpoint and dataset of the contenders on whose answers votes became pairs."""
    return (
        select(Contender.run_id, Contender.checkpoint_id, DatasetVotes.dataset_id)
        .join(Conversation, Contender.conversation_id == Conversation.id)
        .join(DatasetVotes, DatasetVotes.conversation_id == Conversation.id)
        .where(Conversation.campaign_id.is_(None))
        .distinct()
    )


def _told(viewer: str) -> ColumnElement[bool]:
    """The condition for conversations whose names this person may see."""
    seen = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id).where(User.name == viewer)
    untold = select(Comparison.id).where(
        Comparison.conversation_id == Conversation.id, Comparison.id.not_in(seen)
    )
    return ~Conversation.blind | ~untold.exists()


def count_untold(dataset_ids: Collection[int], viewer: str, *, session: Session) -> dict[int, int]:
    """How many conversations of datasets have contenders that are hidden from a person."""
    query = (
        select(DatasetVotes.dataset_id, func.count())
        .join(Conversation, DatasetVotes.conversation_id == Conversation.id)
        .where(DatasetVotes.dataset_id.in_(dataset_ids), Conversation.campaign_id.is_(None), ~_told(viewer))
        .group_by(DatasetVotes.dataset_id)
    )
    return {dataset_id: count for dataset_id, count in session.execute(query)}
