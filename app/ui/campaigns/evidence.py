"""HTML of what a campaign's votes say: the ranking of its contenders, and how far the voters agree."""

from collections.abc import Sequence

from markupsafe import Markup

from app.evidence import Agreement
from app.i18n import N_, _
from app.quality import AspectQuality, Controls, Disagreement, PersonQuality, Quality, Share, read_quality
from app.ranking import read_ranking
from app.store.control_votes import Result
from app.store.db import read_session
from app.store.enums import SlotKind
from app.store.models import Campaign
from app.ui import formatting, widgets
from app.ui.campaigns import form
from app.ui.results import ranking_view
from app.ui.results.ranking_files import RankingFiles
from app.ui.widgets import Html

FEWEST_VOTES = 10
"""With fewer votes, a person's habits are not shown as a share."""

NUMBERS_SHOWN = 20

CAVEAT = N_(
    "Agreement does not show who is right. Careless votes and answers of equal quality both lower it. "
    "Preferring the longer answer is a bias only if length is no merit."
)


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
        return _not_asked() if wanted else widgets.NOTHING
    about = f"{campaign.name}, {form.aspect_name(wanted)}" if wanted else campaign.name
    files = RankingFiles(found, "campaign", campaign.id, about, wanted, adjudicated=adjudicated)
    return widgets.join([ranking_view.ranking(found, files), ranking_view.against_reference(found, files)])


def _not_asked() -> Html:
    return widgets.notice(_("No vote says yet which answer is better in this aspect."))


CONTROLS_CAVEAT = N_(
    "An attention check shows whether somebody read the question, not whether they judge well. A contender "
    "that answers two prompts alike makes it hard. Verdicts on answers of equal quality change by chance."
)


def quality_section(campaign_id: int, user: str) -> Html:
    """Agreement of the voters and each person's habits; it tells nothing about the contenders."""
    with read_session() as session:
        found = read_quality(campaign_id, session=session, reader=user)
    if not found.people:
        return widgets.NOTHING
    pieces = [_agreement(found), _people(found.people), _caveat(_(CAVEAT))]
    sections = [widgets.section(_("Quality of the votes"), widgets.join(pieces))]
    if found.controls is not None and found.controls.people:
        sections.append(widgets.section(_("Repeats and attention checks"), _controls(found.controls)))
    return widgets.join(sections)


def _caveat(sentence: str) -> Html:
    return Markup('<p class="hy-note hy-caveat">{}</p>').format(sentence)


def _controls(controls: Controls) -> Html:
    """What repeats and attention checks say of each person, for the campaign's owner."""
    rows = [(person.name, _of(person.passed), _of(person.consistent)) for person in controls.people]
    people = widgets.table(
        [_("Person"), _("Attention checks passed"), _("Repeats judged alike")],
        rows,
        caption=_("Repeats and attention checks"),
        numeric=(1, 2),
    )
    above = Markup('<div class="hy-agreement">{}</div>').format(people)
    return widgets.join([above, _failed(controls.failed), _caveat(_(CONTROLS_CAVEAT))])


def _of(share: Share) -> str:
    if share.interval is None:
        return _("none yet")
    low, high = share.interval
    return _(
        "{n} of {total} ({low} to {high}%)",
        n=share.count,
        total=share.of,
        low=f"{100 * low:.0f}",
        high=f"{100 * high:.0f}",
    )


def _failed(failed: Sequence[Result]) -> Html:
    """The newest controls that were not passed."""
    if not failed:
        return widgets.NOTHING
    rows = [
        (
            result.person,
            _(FAILURES[result.kind]),
            f"{result.number}",
            widgets.written(result.question, 80),
            "–" if result.seconds is None else _("{n} s", n=f"{result.seconds:.1f}"),
        )
        for result in reversed(failed[-NUMBERS_SHOWN:])
    ]
    return widgets.table(
        [_("Person"), _("What"), _("Comparison"), _("Question"), _("Time")],
        rows,
        caption=_("Checks not passed and changed verdicts, newest first"),
        numeric=(2, 4),
    )


FAILURES = {SlotKind.CHECK: N_("check not passed"), SlotKind.REPEAT: N_("another verdict the second time")}


def _agreement(quality: Quality) -> Html:
    found = quality.agreement
    if not found.pairs:
        return Markup('<p class="hy-note">{}</p>').format(
            _("No two people have judged the same answers yet, so their agreement is unknown.")
        )
    facts = [
        (_("Krippendorff's alpha"), _alpha(found)),
        (_("Pairs of votes that agree"), _percent_of(found)),
        (_("Comparisons on which people differ"), _numbers(quality.disagreements)),
    ]
    told = Markup('<div class="hy-agreement">{}</div>').format(widgets.facts(facts))
    return widgets.join([told, _aspects(quality.aspects)])


def _aspects(aspects: Sequence[AspectQuality]) -> Html:
    """The agreement on each aspect; nothing for a campaign without aspects."""
    if not aspects:
        return widgets.NOTHING
    rows = [
        (
            form.aspect_name(found.name),
            _("none yet") if not found.agreement.pairs else _alpha(found.agreement),
            _percent_of(found.agreement) if found.agreement.pairs else "–",
        )
        for found in aspects
    ]
    table = widgets.table(
        [_("Aspect"), _("Krippendorff's alpha"), _("Pairs of votes that agree")],
        rows,
        caption=_("Agreement on the aspects"),
        numeric=(1, 2),
    )
    return Markup('<div class="hy-agreement">{}</div>').format(table)


def _percent_of(found: Agreement) -> str:
    return _("{percent}% of {total}", percent=f"{100 * (found.rate or 0):.0f}", total=f"{found.pairs:,}")


def _alpha(found: Agreement) -> str:
    if found.alpha is None:
        return _("unknown: all votes are equal")
    if found.low is None or found.high is None:
        return _signed(found.alpha)
    low, high = _signed(found.low), _signed(found.high)
    return _("{value} ({low} to {high})", value=_signed(found.alpha), low=low, high=high)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _numbers(disagreements: Sequence[Disagreement]) -> str:
    if not disagreements:
        return _("none")
    shown = ", ".join(f"{gap.number}" for gap in disagreements[:NUMBERS_SHOWN])
    more = len(disagreements) - NUMBERS_SHOWN
    listed = _("{numbers} and {n} more", numbers=shown, n=f"{more:,}") if more > 0 else shown
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
        [_("Person"), _("Others agree"), _("Prefers the first side"), _("Prefers the longer answer")],
        rows,
        caption=_("Habits of the voters"),
        numeric=(1, 2, 3),
    )


def _share(share: Share, *, fewest: int = FEWEST_VOTES) -> str:
    """A share with its interval, or that it counts too few votes."""
    if share.interval is None or share.rate is None or share.of < fewest:
        return _("too few ({votes})", votes=formatting.count(share.of, "vote"))
    low, high = share.interval
    return _(
        "{percent}% ({low} to {high}%)",
        percent=f"{100 * share.rate:.0f}",
        low=f"{100 * low:.0f}",
        high=f"{100 * high:.0f}",
    )
