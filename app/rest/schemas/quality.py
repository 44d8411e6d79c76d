"""The quality of a campaign's votes."""

from pydantic import Field

from app.rest.types import Shown
from app.store.enums import Outcome, SlotKind


class AgreementShown(Shown):
    """How far voters agree on the answers that several of them judged."""

    units: int = Field(description="Pairs of answers with votes of at least two people.")
    votes: int = Field(description="Votes on them.")
    pairs: int = Field(description="Pairs of votes on the same answers.")
    rate: float | None = Field(description="Share of these pairs that say the same.")
    alpha: float | None = Field(
        description="Krippendorff's alpha: 1 is perfect agreement, 0 is chance; null if all votes are equal."
    )
    low: float | None = Field(description="Lower bound of its 95% interval; null with fewer than 5 units.")
    high: float | None = Field(description="Upper bound of its 95% interval.")


class ShareShown(Shown):
    """A number of votes among those that count."""

    count: int
    of: int
    rate: float | None = Field(description="Their share; null if none counts.")


class PersonShown(Shown):
    """A person's habits."""

    name: str
    votes: int
    median_seconds: float | None = Field(description="Median time of a vote.")
    first_side: ShareShown = Field(description="Votes for the answer shown first, of those for one of two.")
    longer: ShareShown = Field(description="Votes for the longer answer, of those where one is longer.")
    agrees: ShareShown = Field(description="Others' votes on the same answers that say the same.")


class PersonsVote(Shown):
    """What a person voted: for the first or the second model, a tie, or both bad."""

    user: str
    outcome: Outcome


class DisagreementShown(Shown):
    """A comparison on which people differ. Which model is the first is not told."""

    number: int = Field(description="The comparison's place in the campaign.")
    votes: list[PersonsVote]


class AspectAgreementShown(AgreementShown):
    """How far voters agree on an aspect, among the votes that were asked and to which it applies."""

    name: str


class RateShown(ShareShown):
    """A number of controls among those judged, with the 95% interval of their share."""

    low: float | None = Field(description="Lower bound of Wilson's interval.")
    high: float | None


class PersonControlsShown(Shown):
    """What repeats and attention checks say of a person."""

    name: str
    checks_passed: RateShown = Field(description="Attention checks whose right answer was preferred.")
    repeats_consistent: RateShown = Field(description="Repeats that got the same verdict as the first time.")


class FailedControl(Shown):
    """An attention check that was not passed, or a repeat with another verdict."""

    user: str
    kind: SlotKind
    number: int = Field(description="The place in the campaign of the comparison that it shows.")
    question: str
    seconds: float | None


class ControlsShown(Shown):
    """Repeats and attention checks. They are no votes."""

    people: list[PersonControlsShown]
    failed: list[FailedControl]


class QualityShown(Shown):
    """Agreement, habits and disagreements of a campaign's voters."""

    agreement: AgreementShown
    people: list[PersonShown]
    disagreements: list[DisagreementShown]
    aspects: list[AspectAgreementShown]
    controls: ControlsShown | None = Field(description="Null for all but the campaign's owner.")
