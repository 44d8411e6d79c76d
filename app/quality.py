"""The quality of a campaign's votes: how far voters agree, and each person's habits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np
from sqlalchemy.orm import Session

from app.board import wilson
from app.evidence import Agreement, agreement
from app.store import campaigns, control_votes, users, vote_quality
from app.store.control_votes import Result
from app.store.enums import Outcome, SlotKind
from app.store.vote_quality import Judgement

_CATEGORIES = list(Outcome)


@dataclass(frozen=True, slots=True)
class Share:
    """A count of votes with a property, among those that can have it."""

    count: int
    of: int

    @property
    def rate(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of the rate."""
        return wilson(self.count, self.of) if self.of else None


@dataclass(frozen=True, slots=True)
class PersonQuality:
    """A person's habits.

    `first_side` is the share of votes that prefer the answer shown first, and `longer` of those that prefer
    the longer one, each among the votes that can. Near one half they show no bias. `agrees` is the share of
    others' votes on the same answers that say the same.
    """

    name: str
    votes: int
    median_seconds: float | None
    first_side: Share
    longer: Share
    agrees: Share


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A task on which voters differ: its number, and who voted what for its pairs of answers."""

    number: int
    votes: list[tuple[str, Outcome]]


@dataclass(frozen=True, slots=True)
class PersonControls:
    """A person's attention checks that were passed, and repeats that were judged as the first time."""

    name: str
    passed: Share
    consistent: Share


@dataclass(frozen=True, slots=True)
class Controls:
    """What repeats and attention checks say of the voters.

    `failed` lists the checks that were not passed and the repeats with another verdict.
    """

    people: list[PersonControls]
    failed: list[Result]


@dataclass(frozen=True, slots=True)
class AspectQuality:
    """How far the voters agree on an aspect, among the votes that were asked and to which it applies."""

    name: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Quality:
    """Agreement of a campaign's voters, their habits, and the tasks on which they differ.

    `controls` is None for a reader who may not see them.
    """

    agreement: Agreement
    people: list[PersonQuality]
    disagreements: list[Disagreement]
    aspects: list[AspectQuality]
    controls: Controls | None


def read_quality(campaign_id: int, *, session: Session, reader: str = users.LOCAL) -> Quality:
    """The quality of a campaign's votes. It tells nothing about models, so nobody stops being blind.

    Args:
        reader: who reads it. Only those who may change the campaign see its controls: a voter could find out
            from their counts which comparison was one.

    Raises:
        NotFound: when the id does not exist.
    """
    campaign = campaigns.get(campaign_id, session=session)
    owner = campaigns.owner_of(campaign, session=session)
    judgements = vote_quality.of_campaign(campaign_id, session=session)
    units = _units(judgements)
    return Quality(
        _agreement(units),
        _people(judgements, _agreements(units)),
        _disagreements(units),
        [
            AspectQuality(
                name, _agreement(_units(vote_quality.of_campaign(campaign_id, session=session, aspect=name)))
            )
            for name in campaign.aspects
        ],
        _controls(campaign_id, session=session) if campaigns.may_change(owner, reader) else None,
    )


def disagreements_of(campaign_id: int, *, session: Session) -> list[Disagreement]:
    """The tasks of a campaign on which voters differ, in order."""
    return _disagreements(_units(vote_quality.of_campaign(campaign_id, session=session)))


def _controls(campaign_id: int, *, session: Session) -> Controls:
    results = control_votes.results(campaign_id, session=session)
    by_person: dict[str, dict[SlotKind, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        by_person[result.person][result.kind].append(result.right)
    people = [
        PersonControls(name, _share(own[SlotKind.CHECK]), _share(own[SlotKind.REPEAT]))
        for name, own in sorted(by_person.items())
    ]
    return Controls(people, [result for result in results if not result.right])


def _units(judgements: Iterable[Judgement]) -> list[list[Judgement]]:
    """The judgements by task and pair of models."""
    units: dict[tuple[int, int, int], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        units[judgement.number, judgement.first, judgement.second].append(judgement)
    return list(units.values())


def _agreement(units: Sequence[Iterable[Judgement]]) -> Agreement:
    counts = [_counts(unit) for unit in units]
    return agreement(np.array(counts, np.int64).reshape(len(counts), len(_CATEGORIES)))


def _counts(unit: Iterable[Judgement]) -> list[int]:
    by_outcome = Counter(judgement.outcome for judgement in unit)
    return [by_outcome[outcome] for outcome in _CATEGORIES]


def _agreements(units: Iterable[Sequence[Judgement]]) -> dict[str, Share]:
    """For each person, the pairs of an own and another's vote on one unit that say the same."""
    equal: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for unit in units:
        for one, other in combinations(unit, 2):
            for person in (one.person, other.person):
                met[person] += 1
                equal[person] += one.outcome is other.outcome
    return {person: Share(equal[person], count) for person, count in met.items()}


def _people(judgements: Iterable[Judgement], agrees: dict[str, Share]) -> list[PersonQuality]:
    """Everybody with a vote, those with the most first."""
    votes: dict[str, dict[int, Judgement]] = defaultdict(dict)
    for judgement in judgements:
        votes[judgement.person][judgement.label_id] = judgement
    found = [_person(name, list(own.values()), agrees.get(name, Share(0, 0))) for name, own in votes.items()]
    return sorted(found, key=lambda person: (-person.votes, person.name))


def _person(name: str, votes: Sequence[Judgement], agrees: Share) -> PersonQuality:
    seconds = [vote.seconds for vote in votes if vote.seconds is not None]
    return PersonQuality(
        name,
        len(votes),
        median(seconds) if seconds else None,
        _share(vote.first_side for vote in votes),
        _share(vote.longer for vote in votes),
        agrees,
    )


def _share(values: Iterable[bool | None]) -> Share:
    known = [value for value in values if value is not None]
    return Share(sum(known), len(known))


def _disagreements(units: Iterable[Sequence[Judgement]]) -> list[Disagreement]:
    """Tasks in order; of several pairs of one task, the first on which voters differ."""
    found: dict[int, Disagreement] = {}
    for unit in units:
        if len({judgement.outcome for judgement in unit}) > 1:
            said = [(judgement.person, judgement.outcome) for judgement in unit]
            found.setdefault(unit[0].number, Disagreement(unit[0].number, said))
    return [found[number] for number in sorted(found)]
