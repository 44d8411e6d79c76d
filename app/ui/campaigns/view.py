"""HTML pieces of the campaigns page."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from app import presence
from app.campaigns import Overview
from app.i18n import N_, _, _html, _n, in_language
from app.markdown import to_html
from app.store import campaign_progress, workers
from app.store.campaign_progress import PersonProgress, Progress
from app.store.db import read_session
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus, TaskStatus
from app.store.models import Campaign
from app.templates import render
from app.ui import formatting, widgets
from app.ui.campaigns.form import aspect_name
from app.ui.compare.names import contender_name
from app.ui.widgets import Html

LEAD: Final = N_(
    "Models answer many prompts ahead of time, and people judge the answers blind, one after the other."
)
_FORMS: Final = {
    CampaignForm.PAIRS: N_("two answers at a time"),
    CampaignForm.BEST_WORST: N_("best and worst of all"),
}
_ORDERS: Final = {
    CampaignOrder.INFORMATIVE: N_("next comes the pair that a vote tells most about"),
    CampaignOrder.IN_ORDER: N_("one prompt after the other"),
}


# --- the list --------------------------------------------------------------------------------


def list_header() -> Html:
    new = widgets.link_button(_("New campaign"), "campaigns", primary=True, new=1)
    return widgets.page_header(_("Campaigns"), _(LEAD), new)


def form_header() -> Html:
    lead = _("Choose who answers which prompts, and how people judge. You see how much work that makes.")
    return widgets.page_header(_("New campaign"), lead, widgets.link_button(_("All campaigns"), "campaigns"))


def nothing_yet() -> Html:
    """What a campaign is for, with a button that opens the form."""
    return widgets.empty_state(
        _("Judge fifty prompts at the speed of reading"),
        _(
            "In a campaign several models answer the same prompts ahead of time. Then people judge the "
            "answers blind, one comparison after the other, with one key for each vote."
        ),
        widgets.link_button(_("New campaign"), "campaigns", primary=True, new=1),
    )


def campaign_table(found: Sequence[Overview]) -> Html:
    rows = [_row(overview) for overview in found]
    return widgets.table(
        [_("Campaign"), _("Contenders"), _("State"), _("Answers"), _("Votes"), _("Started"), ""],
        rows,
        caption=_("Campaigns, newest first"),
    )


def _row(overview: Overview) -> tuple[object, ...]:
    campaign, progress = overview.campaign, overview.progress
    who = Markup('{}<br><span class="hy-note">#{} · {} · {}</span>').format(
        widgets.link(formatting.clip(campaign.name, 80), "campaigns", campaign=campaign.id),
        campaign.id,
        formatting.count(progress.prompts, "prompt"),
        overview.owner,
    )
    names = widgets.join(
        [
            widgets.method_badge(found.method, formatting.clip(contender_name(found), 40), run=found.run_id)
            for found in overview.contenders
        ],
        " ",
    )
    votable = campaign.status is CampaignStatus.OPEN
    return (
        who,
        Markup('<span class="hy-badges">{}</span>').format(names),
        state_badge(overview),
        _small_bar(progress.written, progress.answers, live=progress.unwritten > 0),
        _small_bar(progress.votes, progress.votes_wanted),
        formatting.ago(campaign.created_at),
        widgets.link_button(_("Label"), "label", campaign=campaign.id) if votable else widgets.NOTHING,
    )


def _small_bar(done: int, total: int, *, live: bool = False) -> Html:
    share = min(1.0, done / total) if total else 0.0
    return widgets.bar(share, _("{n} of {total}", n=f"{done:,}", total=f"{total:,}"), live=live)


def state_badge(overview: Overview) -> Html:
    """The campaign's state: its status, or what an open one waits for."""
    campaign, progress = overview.campaign, overview.progress
    if campaign.status is CampaignStatus.CLOSED:
        return widgets.status_badge("closed")
    if campaign.status is CampaignStatus.PAUSED:
        return widgets.status_badge("paused")
    if progress.unwritten:
        return widgets.status_badge("running", N_("writing answers"))
    if progress.tasks[TaskStatus.FAILED] and not progress.votes_wanted:
        return widgets.status_badge("failed")
    if progress.votes >= progress.votes_wanted:
        return widgets.status_badge("finished", N_("judged"))
    return widgets.status_badge("open")


# --- one campaign ----------------------------------------------------------------------------


def header(overview: Overview, *, votable: bool) -> Html:
    """The page header; with `votable` it leads to the Label page."""
    campaign, progress = overview.campaign, overview.progress
    lead = render(
        "campaigns/lead.html",
        state=state_badge(overview),
        contenders=[
            widgets.method_badge(found.method, contender_name(found), run=found.run_id)
            for found in overview.contenders
        ],
        facts=" · ".join(
            [
                _prompts(progress.prompts, campaign.samples),
                _(_FORMS[campaign.form]),
                _n("{n} vote on each comparison", "{n} votes on each comparison", campaign.votes_wanted),
                _("by {name}", name=overview.owner),
            ]
        ),
    )
    buttons = [
        widgets.link_button(_("Lineage"), "lineage", campaign=campaign.id),
        widgets.link_button(_("All campaigns"), "campaigns"),
    ]
    if votable:
        buttons.insert(0, widgets.link_button(_("Label"), "label", primary=True, campaign=campaign.id))
    return widgets.page_header(campaign.name, lead, *buttons)


def _prompts(prompts: int, samples: int) -> str:
    if samples == 1:
        return formatting.count(prompts, "prompt")
    return _n(
        "{n} prompt, {samples} answers each", "{n} prompts, {samples} answers each", prompts, samples=samples
    )


def missing(reason: str) -> Html:
    page = widgets.empty_state(
        _("There is no such campaign"),
        in_language(reason),
        widgets.link_button(_("All campaigns"), "campaigns", primary=True),
        widgets.link_button(_("New campaign"), "campaigns", new=1),
    )
    return widgets.join([widgets.page_header(_("Campaign not found")), page])


def progress_section(overview: Overview, *, told: bool) -> Html:
    """Answers and votes as bars, with what stands in their way.

    Args:
        told: whether the reader has seen the names.
    """
    progress = overview.progress
    pieces: list[Html] = []
    if told:
        pieces.append(_names_seen())
    pieces += [_no_worker(queue) for queue in overview.queues]
    if progress.failed_answers:
        pieces.append(_failures(progress))
    pieces.append(_bars(overview))
    return widgets.join(pieces)


def _names_seen() -> Html:
    results = widgets.link(_("Results"), "results")
    return widgets.notice(
        _html(
            "You have seen who wrote which answer, so you cannot vote here. {results} lists the votes.",
            results=results,
        )
    )


def _no_worker(queue: str) -> Html:
    with read_session() as session:
        if workers.consuming(session=session, queue=queue):
            return widgets.NOTHING
    missing = widgets.with_commands(in_language(presence.no_worker(queue)))
    return widgets.notice(_html("{reason} The answers wait in the queue.", reason=missing), "warning")


def _failures(progress: Progress) -> Html:
    tasks = progress.tasks[TaskStatus.FAILED]
    return render(
        "campaigns/failures.html",
        answers=formatting.count(progress.failed_answers, "answer"),
        tasks=formatting.count(tasks, "comparison"),
        reasons=[widgets.with_commands(in_language(reason)) for reason in progress.failures],
    )


def _bars(overview: Overview) -> Html:
    progress, tasks = overview.progress, overview.progress.tasks
    left, closed = progress.seconds_left, overview.campaign.status is CampaignStatus.CLOSED
    written = _n(
        "{written} of {n} answer written",
        "{written} of {n} answers written",
        progress.answers,
        written=f"{progress.written:,}",
    )
    votes = _n(
        "{given} of {n} vote", "{given} of {n} votes", progress.votes_wanted, given=f"{progress.votes:,}"
    )
    identical = tasks[TaskStatus.IDENTICAL]
    return render(
        "campaigns/bars.html",
        answers=widgets.bar(
            progress.written / progress.answers if progress.answers else 0.0,
            written,
            _("about {time} left", time=formatting.duration(left)) if left is not None else "",
            live=progress.unwritten > 0,
        ),
        votes=widgets.bar(
            progress.votes / progress.votes_wanted if progress.votes_wanted else 0.0,
            votes,
            "" if closed else _("{n} to go", n=f"{max(0, progress.votes_wanted - progress.votes):,}"),
            live=overview.campaign.status is CampaignStatus.OPEN,
        ),
        facts=widgets.facts(
            [
                (_("Comparisons"), f"{sum(tasks.values()):,}"),
                (_("Answers complete"), f"{tasks[TaskStatus.READY]:,}"),
                (_("Waiting for answers"), f"{tasks[TaskStatus.WAITING]:,}"),
                (_("Identical answers, no vote needed"), f"{identical:,}"),
                (_("Failed"), f"{tasks[TaskStatus.FAILED]:,}"),
                *(
                    [(_("Cost of the endpoints' answers"), formatting.cost(progress.cost))]
                    if progress.cost
                    else []
                ),
            ]
        ),
    )


def votes_section(overview: Overview) -> Html:
    """Votes by pair and by person."""
    progress = overview.progress
    pieces = []
    if len(progress.pairs) > 1:
        pieces.append(widgets.section(_("Votes by pair"), _pairs(overview)))
    people = _people(overview.campaign, progress.people) if progress.people else _nobody()
    pieces.append(widgets.section(_("Votes by person"), people))
    return widgets.join(pieces)


def _pairs(overview: Overview) -> Html:
    names = {contender.name: contender_name(contender) for contender in overview.contenders}
    rows = [
        (
            formatting.in_words([names.get(name, name) for name in (pair.first, pair.second)]),
            _small_bar(pair.votes, pair.wanted),
        )
        for pair in overview.progress.pairs
    ]
    return widgets.table([_("Pair"), _("Votes")], rows, caption=_("Votes by pair"), stack=False)


def _people(campaign: Campaign, people: Sequence[PersonProgress]) -> Html:
    with read_session() as session:
        left = campaign_progress.to_go(campaign, [person.name for person in people], session=session)
    rows = [
        (
            person.name,
            f"{person.votes:,}",
            f"{left[person.name]:,}",
            f"{person.skipped:,}",
            "–" if person.median_seconds is None else _("{n} s", n=f"{person.median_seconds:.1f}"),
        )
        for person in people
    ]
    return widgets.table(
        [_("Person"), _("Votes"), _("To go"), _("Skipped"), _("Median time")],
        rows,
        caption=_("Votes by person"),
        numeric=(1, 2, 3, 4),
        stack=False,
    )


def _nobody() -> Html:
    return Markup('<p class="hy-note">{}</p>').format(_("Nobody has voted yet."))


def setup_section(overview: Overview) -> Html:
    """How the campaign was set up: decoding, order, voters, guidelines."""
    campaign = overview.campaign
    given = campaign.parameters
    decoding = _(
        "up to {tokens} tokens, temperature {temperature}, top-p {top_p}, seed {seed}",
        tokens=f"{given['max_new_tokens']:g}",
        temperature=f"{given['temperature']:g}",
        top_p=f"{given['top_p']:g}",
        seed=campaign.seed,
    )
    facts = widgets.facts(
        [
            (_("Decoding"), decoding),
            (_("Order"), _(_ORDERS[campaign.order])),
            (_("Who may vote"), ", ".join(map(str, campaign.voters)) or _("everybody")),
            (_("Reason"), _("asked for after each vote") if campaign.ask_reason else _("not asked for")),
            (_("Aspects"), ", ".join(map(aspect_name, campaign.aspects)) or _("none")),
            (_("Disagreements"), ", ".join([_("decided by the owner"), *map(str, campaign.adjudicators)])),
            (_("Repeats"), _every(campaign.repeat_share)),
            (_("Attention checks"), _every(campaign.check_share)),
            (_("Started"), formatting.ago(campaign.created_at)),
        ]
    )
    guidelines = to_html(campaign.guidelines) if campaign.guidelines else widgets.NOTHING
    return widgets.section(_("Set-up"), render("campaigns/setup.html", facts=facts, guidelines=guidelines))


def _every(share: float) -> str:
    return _("{n} for every 100 comparisons", n=f"{100 * share:g}") if share else _("none")
