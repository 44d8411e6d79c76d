"""HTML of what a campaign's votes say: the ranking of its contenders, and how far the voters agree."""

from collections.abc import Sequence

from markupsafe import Markup

from app.evidence import Agreement
from app.quality import AspectQuality, Controls, Disagreement, PersonQuality, Quality, Share, read_quality
from app.ranking import read_ranking
from app.store.control_votes import Result
from app.store.db import read_session
from app.store.enums import SlotKind
from app.store.models import Campaign
from app.ui import formatting, widgets
from app.ui.results import ranking_view
from app.ui.widgets import Html

FEWEST_VOTES = 10
"""With fewer votes, a person's habits are not shown as a share."""

NUMBERS_SHOWN = 20

CAVEAT = (
    "Agreement does not show who is right. Careless votes and answers of equal quality both lower it. "
    "Preferring the longer answer is a bias only if length is no merit."
)


NOT_ASKED = widgets.notice("No vote says yet which answer is better in this aspect.")


def ranking_section(
    campaign: Campaign, user: str, aspect: str | None = None, *, adjudicated: bool = False
) -> Html:
    """The ranking by the campaign's votes or an aspect of them, for a person who has seen its names."""
    wanted = aspect if aspect in campaign.aspects else None
    with read_session() as session:
        found = read_ranking(
            session=session,
            viewer=user,
            campaign_id=campaign.id,
            aspect=wanted,
            adjudicated=adjudicated,
        )
    if len(found.models) < 2:
        return NOT_ASKED if wanted else widgets.NOTHING
    reference = found.board.reference
    against = widgets.NOTHING
    if reference is not None:
        against = widgets.section(f"Win rates against {found.names[reference]}", ranking_view.against(found))
    return widgets.join([ranking_view.ranking(found), against])


CONTROLS_CAVEAT = (
    "An attention check shows whether somebody read the question, not whether they judge well. A contender "
    "that answers two prompts alike makes it hard. Verdicts on answers of equal quality change by chance."
)


def quality_section(campaign_id: int, user: str) -> Html:
    """Agreement of the voters and each person's habits; it tells nothing about the contenders."""
    with read_session() as session:
        found = read_quality(campaign_id, session=session, reader=user)
    if not found.people:
        return widgets.NOTHING
    pieces = [_agreement(found), _people(found.people), _caveat(CAVEAT)]
    sections = [widgets.section("Quality of the votes", widgets.join(pieces))]
    if found.controls is not None and found.controls.people:
        sections.append(widgets.section("Repeats and attention checks", _controls(found.controls)))
    return widgets.join(sections)


def _caveat(sentence: str) -> Html:
    return Markup('<p class="hy-note hy-caveat">{}</p>').format(sentence)


def _controls(controls: Controls) -> Html:
    """What repeats and attention checks say of each person, for the campaign's owner."""
    rows = [(person.name, _of(person.passed), _of(person.consistent)) for person in controls.people]
    people = widgets.table(
        ["Person", "Attention checks passed", "Repeats judged alike"],
        rows,
        caption="Repeats and attention checks",
        numeric=(1, 2),
    )
    above = Markup('<div class="hy-agreement">{}</div>').format(people)
    return widgets.join([above, _failed(controls.failed), _caveat(CONTROLS_CAVEAT)])


def _of(share: Share) -> str:
    if share.interval is None:
        return "none yet"
    low, high = share.interval
    return f"{share.count} of {share.of} ({100 * low:.0f} to {100 * high:.0f}%)"


def _failed(failed: Sequence[Result]) -> Html:
    """The newest controls that were not passed."""
    if not failed:
        return widgets.NOTHING
    rows = [
        (
            result.person,
            FAILURES[result.kind],
            f"{result.number}",
            formatting.clip(result.question, 80),
            "–" if result.seconds is None else f"{result.seconds:.1f} s",
        )
        for result in reversed(failed[-NUMBERS_SHOWN:])
    ]
    return widgets.table(
        ["Person", "What", "Comparison", "Question", "Time"],
        rows,
        caption="Checks not passed and changed verdicts, newest first",
        numeric=(2, 4),
    )


FAILURES = {SlotKind.CHECK: "check not passed", SlotKind.REPEAT: "another verdict the second time"}


def _agreement(quality: Quality) -> Html:
    found = quality.agreement
    if not found.pairs:
        return Markup('<p class="hy-note">{}</p>').format(
            "No two people have judged the same answers yet, so their agreement is unknown."
        )
    facts = [
        ("Krippendorff's alpha", _alpha(found)),
        ("Pairs of votes that agree", f"{100 * (found.rate or 0):.0f}% of {found.pairs:,}"),
        ("Comparisons on which people differ", _numbers(quality.disagreements)),
    ]
    told = Markup('<div class="hy-agreement">{}</div>').format(widgets.facts(facts))
    return widgets.join([told, _aspects(quality.aspects)])


def _aspects(aspects: Sequence[AspectQuality]) -> Html:
    """The agreement on each aspect; nothing for a campaign without aspects."""
    if not aspects:
        return widgets.NOTHING
    rows = [
        (
            found.name,
            "none yet" if not found.agreement.pairs else _alpha(found.agreement),
            f"{100 * (found.agreement.rate or 0):.0f}% of {found.agreement.pairs:,}"
            if found.agreement.pairs
            else "–",
        )
        for found in aspects
    ]
    table = widgets.table(
        ["Aspect", "Krippendorff's alpha", "Pairs of votes that agree"],
        rows,
        caption="Agreement on the aspects",
        numeric=(1, 2),
    )
    return Markup('<div class="hy-agreement">{}</div>').format(table)


def _alpha(found: Agreement) -> str:
    if found.alpha is None:
        return "unknown: all votes are equal"
    bounds = "" if found.low is None or found.high is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.alpha:.2f}{bounds}".replace("-", "\N{MINUS SIGN}")


def _numbers(disagreements: Sequence[Disagreement]) -> str:
    if not disagreements:
        return "none"
    shown = ", ".join(f"{gap.number}" for gap in disagreements[:NUMBERS_SHOWN])
    more = len(disagreements) - NUMBERS_SHOWN
    listed = f"{shown} and {more:,} more" if more > 0 else shown
    return f"{len(disagreements):,}: {listed}"


def _people(people: Sequence[PersonQuality]) -> Html:
    rows = [
        (
            person.name,
            _share(person.agrees, fewest=1),
            _share(person.first_side),
            _share(person.longer),
        )
        for person in people
    ]
    return widgets.table(
        ["Person", "Others agree", "Prefers the first side", "Prefers the longer answer"],
        rows,
        caption="Habits of the voters",
        numeric=(1, 2, 3),
    )


def _share(share: Share, *, fewest: int = FEWEST_VOTES) -> str:
    """A share with its interval, or that it counts too few votes."""
    if share.interval is None or share.rate is None or share.of < fewest:
        return f"too few ({formatting.count(share.of, 'vote')})"
    low, high = share.interval
    return f"{100 * share.rate:.0f}% ({100 * low:.0f} to {100 * high:.0f}%)"
