"""The things of the lineage in words: names, facts, and what is not recorded, hidden or gone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from app.i18n import N_, _, _n
from app.store import lineage_facts as facts
from app.store.lineage import Kind, Thing
from app.store.models import Campaign, Dataset, Run
from hypo_engine.config import Method
from hypo_engine.reward_spec import parse_reward

VOTES: Final = "votes"
"""The format of a dataset that is made of votes."""


@dataclass(frozen=True, slots=True)
class Node:
    """A thing in words.

    Attributes:
        title: its name.
        detail: what it is, in a few words.
        notes: what is not recorded, hidden or gone, a sentence each.
        state: the status of a run or a campaign, `deleted` for what was deleted, else empty.
        method: of a run or checkpoint.
        run_id: of a checkpoint.
    """

    thing: Thing
    title: str
    detail: str = ""
    notes: tuple[str, ...] = ()
    state: str = ""
    method: str = ""
    run_id: int | None = None
    created_at: datetime | None = None


DELETED: Final = "deleted"


def nodes_of(things: Collection[Thing], viewer: str, session: Session) -> tuple[Node, ...]:
    """Things in words, by kind and id."""
    ids = {kind: sorted(thing.id for thing in things if thing.kind is kind) for kind in Kind}
    described = facts.datasets([*ids[Kind.SOURCE], *ids[Kind.DATASET]], session=session)
    by_id = {dataset.id: dataset for dataset in described}
    return (
        *(_source(by_id[one]) for one in ids[Kind.SOURCE]),
        *_datasets([by_id[one] for one in ids[Kind.DATASET]], session),
        *(_run(run) for run in facts.runs(ids[Kind.RUN], session=session)),
        *_checkpoints(ids[Kind.CHECKPOINT], session),
        *_campaigns(ids[Kind.CAMPAIGN], session),
        *_votes(ids[Kind.VOTES], session),
        *_chats(ids[Kind.CHATS], viewer, session),
    )


def _source(dataset: Dataset) -> Node:
    thing = Thing(Kind.SOURCE, dataset.id)
    if dataset.format == VOTES:
        note = _("Which votes became {name} was not recorded when it was made.", name=_name(dataset))
        return Node(thing, _("Votes"), _("not recorded which"), (note,))
    return Node(thing, dataset.source, _("imported source"))


def _datasets(found: Sequence[Dataset], session: Session) -> list[Node]:
    known = facts.voted_datasets([dataset.id for dataset in found], session=session)
    return [_dataset(dataset, traced=dataset.id in known) for dataset in found]


def _dataset(dataset: Dataset, *, traced: bool) -> Node:
    untraced = dataset.format == VOTES and dataset.parent_id is None and not traced
    notes = [_("Which votes became its pairs was not recorded.")] if untraced else []
    if dataset.deleted_at is not None:
        notes.append(_("It was deleted; its pairs stay for the runs that used them."))
    return Node(
        Thing(Kind.DATASET, dataset.id),
        _name(dataset),
        _n("{n} pair", "{n} pairs", dataset.rows),
        tuple(notes),
        DELETED if dataset.deleted_at is not None else "",
        created_at=dataset.created_at,
    )


def _run(run: Run) -> Node:
    gone = _deleted_reward(run)
    return Node(
        Thing(Kind.RUN, run.id),
        run.name,
        _("run {id} · {status}", id=run.id, status=_(run.status.value)),
        (_("Its reward model was that of run {id}, which was deleted.", id=gone),)
        if gone is not None
        else (),
        run.status.value,
        run.method,
        created_at=run.created_at,
    )


def _deleted_reward(run: Run) -> int | None:
    """The run of the reward model that a run learned from, if that run was deleted."""
    reward, method = run.config.get("reward"), run.method
    if run.depends_on_id is not None or not reward or method not in list(Method) or not Method(method).writes:
        return None
    try:
        return parse_reward(str(reward)).run
    except ValueError:
        return None


def _checkpoints(ids: Collection[int], session: Session) -> list[Node]:
    return [
        Node(
            Thing(Kind.CHECKPOINT, checkpoint.id),
            run.name,
            _("checkpoint of step {step}", step=f"{checkpoint.step:,}"),
            method=run.method,
            run_id=run.id,
            created_at=checkpoint.created_at,
        )
        for checkpoint, run in facts.checkpoints(ids, session=session)
    ]


def _campaigns(ids: Collection[int], session: Session) -> list[Node]:
    found = facts.campaigns(ids, session=session)
    asked = facts.asked(found, session=session)
    return [_campaign(campaign, asked[campaign.id]) for campaign in found]


def _reference_translated(name: str) -> str:
    """A base model's name, "Reference" or "Reference (which)", in the present language."""
    is_reference = name == "Reference" or name.startswith("Reference (")
    return _("Reference") + name.removeprefix("Reference") if is_reference else name


def _campaign(campaign: Campaign, asked: facts.Asked) -> Node:
    notes = []
    if asked.others:
        others = [_reference_translated(name) for name in asked.others]
        notes.append(_("{names} answered too.", names=_in_words(others)))
    if asked.deleted:
        one, many = (
            N_("{names} answered too, whose run was deleted."),
            N_("{names} answered too, whose runs were deleted."),
        )
        notes.append(_(one if len(asked.deleted) == 1 else many, names=_in_words(asked.deleted)))
    if asked.of_datasets:
        notes.append(
            _n(
                "{some} of {n} prompt come from datasets.",
                "{some} of {n} prompts come from datasets.",
                asked.prompts,
                some=f"{asked.of_datasets:,}",
            )
        )
    if not campaign.prompts_traced:
        notes.append(_("Where its first prompts come from was not recorded."))
    return Node(
        Thing(Kind.CAMPAIGN, campaign.id),
        campaign.name,
        f"{_('campaign {id}', id=campaign.id)} · {_n('{n} prompt', '{n} prompts', asked.prompts)}",
        tuple(notes),
        campaign.status.value,
        created_at=campaign.created_at,
    )


def _votes(campaign_ids: Collection[int], session: Session) -> list[Node]:
    counts = facts.votes(campaign_ids, session=session)
    return [
        Node(Thing(Kind.VOTES, one), _n("{n} vote", "{n} votes", counts[one]), _("in campaign {id}", id=one))
        for one in campaign_ids
    ]


def _chats(dataset_ids: Collection[int], viewer: str, session: Session) -> list[Node]:
    found: Mapping[int, facts.Chats] = facts.chats(dataset_ids, viewer, session=session)
    return [_chat(one, found[one]) for one in dataset_ids if one in found]


def _chat(dataset_id: int, chats: facts.Chats) -> Node:
    untold: tuple[str, ...] = ()
    if chats.untold:
        blind = _n(
            "The contenders of {n} blind conversation are hidden from you until you vote there.",
            "The contenders of {n} blind conversations are hidden from you until you vote there.",
            chats.untold,
        )
        untold = (blind,)
    return Node(
        Thing(Kind.CHATS, dataset_id),
        _("Votes in Compare"),
        ", ".join(
            (
                _n("{n} conversation", "{n} conversations", chats.conversations),
                _n("{n} pair", "{n} pairs", chats.pairs),
            )
        ),
        untold,
    )


def _name(dataset: Dataset) -> str:
    return f"{dataset.name} v{dataset.version}"


def _in_words(names: Sequence[str]) -> str:
    *others, last = names
    return _("{others} and {last}", others=", ".join(others), last=last) if others else last
