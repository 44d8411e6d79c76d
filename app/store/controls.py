"""Controls: comparisons among a person's slots that measure the person, and are never labels.

A repeat shows again what the person has judged, with the sides drawn anew. An attention check shows one
contender's answer to the question beside the same contender's answers to other prompts of the campaign.
Controls are chosen from what the person has judged at least `lag` judgements ago, one for each comparison at
most. A control follows an ordinary comparison, unless none is left. control_plan.py says when one comes.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store import control_plan
from app.store.enums import GenerationStatus, SlotKind, SlotStatus
from app.store.models import Campaign, Comparison, Generation, NamesSeen, Slot, Task

LONGEST_LAG = 10
SHORTEST_OTHER_CHARS = 20
"""A shorter answer to another prompt, such as "Yes.", may answer this question too."""
POOL = 40
"""How many judged comparisons are read to compose an attention check."""


@dataclass(frozen=True, slots=True)
class Own:
    """A slot of a person: what the plan of the controls needs."""

    id: int
    comparison_id: int
    kind: SlotKind
    status: SlotStatus


@dataclass(slots=True)
class Record:
    """A person's slots in a campaign, in the order in which they were taken.

    `left` is the number of ordinary comparisons that the person can still get.
    """

    campaign: Campaign
    user_id: int
    slots: list[Own]
    left: int

    @property
    def ordinary(self) -> list[Own]:
        return [slot for slot in self.slots if slot.kind is SlotKind.TASK]

    @property
    def _counted(self) -> int:
        """The ordinary comparisons since the shares were last set."""
        return sum(slot.id > self.campaign.controls_from for slot in self.ordinary)

    def missing(self, kind: SlotKind, *, more: int = 0) -> int:
        """The number of controls of a kind that are due and not there, after `more` ordinary comparisons."""
        campaign = self.campaign
        share = campaign.repeat_share if kind is SlotKind.REPEAT else campaign.check_share
        key = (campaign.control_seed, self.user_id, kind.value)
        due = control_plan.due(share, self._counted + more, *key)
        there = sum(slot.kind is kind and slot.id > campaign.controls_from for slot in self.slots)
        return max(0, due - there)

    @property
    def to_come(self) -> int:
        """The number of controls that are still to come if the person judges everything that is left."""
        controlled = {slot.comparison_id for slot in self.slots if slot.kind is not SlotKind.TASK}
        free = [
            slot
            for slot in self.ordinary
            if slot.status is not SlotStatus.SKIPPED and slot.comparison_id not in controlled
        ]
        missing = sum(self.missing(kind, more=self.left) for kind in (SlotKind.CHECK, SlotKind.REPEAT))
        return min(missing, len(free) + self.left)

    @property
    def lag(self) -> int:
        """The fewest judgements between a comparison and its control: ten, or half of a short campaign."""
        return max(1, min(LONGEST_LAG, (len(self.ordinary) + self.left) // 2))

    def judged(self) -> list[int]:
        """The comparisons from which controls are chosen, in an order that a hash draws."""
        controlled = {slot.comparison_id for slot in self.slots if slot.kind is not SlotKind.TASK}
        found, later = [], 0
        for slot in reversed(self.slots):
            if slot.status is not SlotStatus.VOTED:
                continue
            if later >= self.lag and slot.kind is SlotKind.TASK and slot.comparison_id not in controlled:
                found.append(slot.comparison_id)
            later += 1
        seed = (self.campaign.control_seed, self.user_id)
        return sorted(found, key=lambda comparison_id: control_plan.uniform(*seed, comparison_id))


def record(campaign: Campaign, user_id: int, *, left: int, session: Session) -> Record:
    """A person's slots in a campaign."""
    query = (
        select(Slot.id, Slot.comparison_id, Slot.kind, Slot.status)
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .where(Task.campaign_id == campaign.id, Slot.user_id == user_id)
        .order_by(Slot.id)
    )
    return Record(campaign, user_id, [Own(*row) for row in session.execute(query)], left)


def next_one(own: Record, *, session: Session) -> Slot | None:
    """The control that comes now, not yet stored; None if an ordinary comparison comes."""
    if own.left and own.slots and own.slots[-1].kind is not SlotKind.TASK:
        return None
    for kind, compose in ((SlotKind.CHECK, _check), (SlotKind.REPEAT, _repeat)):
        if own.missing(kind):
            judged = _unseen(own.judged(), own.user_id, session=session)
            slot = compose(judged, session=session)
            if slot is not None:
                slot.kind, slot.user_id = kind, own.user_id
                return slot
    return None


def _unseen(comparison_ids: Sequence[int], user_id: int, *, session: Session) -> list[int]:
    """The comparisons whose names the person has not seen."""
    query = select(NamesSeen.comparison_id).where(
        NamesSeen.user_id == user_id, NamesSeen.comparison_id.in_(comparison_ids)
    )
    seen = set(session.scalars(query)) if comparison_ids else set()
    return [comparison_id for comparison_id in comparison_ids if comparison_id not in seen]


def _repeat(judged: Sequence[int], *, session: Session) -> Slot | None:
    if not judged:
        return None
    positions = session.get_one(Comparison, judged[0]).shown_order
    return Slot(comparison_id=judged[0], shown_order=_shuffled(positions))


def _check(judged: Sequence[int], *, session: Session) -> Slot | None:
    """An attention check on the first of the judged comparisons that makes one."""
    pool = judged[:POOL]
    source = func.coalesce(Comparison.source_id, Comparison.id)
    query = select(Comparison.id, source, Comparison.shown_order).where(Comparison.id.in_(pool))
    sources = {key: (answered_by, order) for key, answered_by, order in session.execute(query)}
    answers = _answers({answered_by for answered_by, _ in sources.values()}, session=session)
    for comparison_id in pool:
        answered_by, order = sources[comparison_id]
        for position in _shuffled(order):
            shown = _beside(answers, answered_by, position, count=len(order))
            if shown:
                ids = _shuffled([answer.id for answer in shown])
                return Slot(comparison_id=comparison_id, shown_order=list(order), answer_ids=ids)
    return None


def _answers(source_ids: Collection[int], *, session: Session) -> list[Any]:
    """The finished answers of comparisons, without what no check shows."""
    query = (
        select(
            Generation.id,
            Generation.comparison_id,
            Generation.position,
            Generation.prompt_id,
            Generation.text,
        )
        .where(
            Generation.comparison_id.in_(sorted(source_ids)), Generation.status == GenerationStatus.FINISHED
        )
        .order_by(Generation.id)
    )
    return list(session.execute(query)) if source_ids else []


def _beside(answers: Sequence[Any], source_id: int, position: int, *, count: int) -> list[Any]:
    """A contender's answer to a question and its answers to other prompts, `count` in all, or none."""
    own = [answer for answer in answers if answer.position == position]
    right = next((answer for answer in own if answer.comparison_id == source_id), None)
    if right is None or not right.text.strip():
        return []
    shown, prompts, texts = [right], {right.prompt_id}, {right.text.strip()}
    for other in _shuffled(own):
        text = other.text.strip()
        if other.prompt_id not in prompts and text not in texts and len(text) >= SHORTEST_OTHER_CHARS:
            shown.append(other)
            prompts.add(other.prompt_id)
            texts.add(text)
        if len(shown) == count:
            return shown
    return []


def _shuffled(items: Sequence[Any]) -> list[Any]:
    return random.SystemRandom().sample(items, len(items))
