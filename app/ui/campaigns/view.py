"""HTML pieces of the campaigns page."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from app import presence
from app.campaigns import Overview
from app.markdown import to_html
from app.store import workers
from app.store.campaign_progress import PairProgress, PersonProgress, Progress
from app.store.db import read_session
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus, TaskStatus
from app.templates import render
from app.ui import formatting, widgets
from app.ui.widgets import Html

LEAD: Final = (
    "Models answer many prompts ahead of time, and people judge the answers blind, one after the other."
)
_FORMS: Final = {
    CampaignForm.PAIRS: "two answers at a time",
    CampaignForm.BEST_WORST: "best and worst of all",
}
_ORDERS: Final = {
    CampaignOrder.INFORMATIVE: "next comes the pair that a vote tells most about",
    CampaignOrder.IN_ORDER: "one prompt after the other",
}


# --- the list --------------------------------------------------------------------------------


def list_header() -> Html:
    new = widgets.link_button("New campaign", "campaigns", primary=True, new=1)
    return widgets.page_header("Campaigns", LEAD, new)


def form_header() -> Html:
    lead = "Choose who answers which prompts, and how people judge. You see how much work that makes."
    return widgets.page_header("New campaign", lead, widgets.link_button("All campaigns", "campaigns"))


def nothing_yet() -> Html:
    """What a campaign is for, with a button that opens the form."""
    return widgets.empty_state(
        "Judge fifty prompts at the speed of reading",
        "In a campaign several models answer the same prompts ahead of time. Then people judge the answers "
        "blind, one comparison after the other, with one key for each vote.",
        widgets.link_button("New campaign", "campaigns", primary=True, new=1),
    )


def campaign_table(found: Sequence[Overview]) -> Html:
    rows = [_row(overview) for overview in found]
    return widgets.table(
        ["Campaign", "Contenders", "State", "Answers", "Votes", "Started", ""],
        rows,
        caption="Campaigns, newest first",
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
            widgets.method_badge(found.method, formatting.clip(found.name, 40))
            for found in overview.contenders
        ],
        " ",
    )
    votable = campaign.status is CampaignStatus.OPEN
    return (
        who,
        Markup('<span class="hy-badges">{}</span>').format(names),
        state_badge(overview),
        _small_bar(progress.answered, progress.answers, live=progress.unwritten > 0),
        _small_bar(progress.votes, progress.votes_wanted),
        formatting.ago(campaign.created_at),
        widgets.link_button("Label", "label", campaign=campaign.id) if votable else widgets.NOTHING,
    )


def _small_bar(done: int, total: int, *, live: bool = False) -> Html:
    share = min(1.0, done / total) if total else 0.0
    return widgets.bar(share, f"{done:,} of {total:,}", live=live)


def state_badge(overview: Overview) -> Html:
    """The campaign's state: its status, or what an open one waits for."""
    campaign, progress = overview.campaign, overview.progress
    if campaign.status is CampaignStatus.CLOSED:
        return widgets.status_badge("closed")
    if campaign.status is CampaignStatus.PAUSED:
        return widgets.status_badge("paused")
    if progress.unwritten:
        return widgets.status_badge("running", "writing answers")
    if progress.tasks[TaskStatus.FAILED] and not progress.votes_wanted:
        return widgets.status_badge("failed")
    if progress.votes >= progress.votes_wanted:
        return widgets.status_badge("finished", "judged")
    return widgets.status_badge("open")


# --- one campaign ----------------------------------------------------------------------------


def header(overview: Overview, *, votable: bool) -> Html:
    """The page header; with `votable` it leads to the Label page."""
    campaign, progress = overview.campaign, overview.progress
    lead = render(
        "campaigns/lead.html",
        state=state_badge(overview),
        contenders=[widgets.method_badge(found.method, found.name) for found in overview.contenders],
        facts=" · ".join(
            [
                formatting.count(progress.prompts, "prompt")
                + (f", {campaign.samples} answers each" if campaign.samples > 1 else ""),
                _FORMS[campaign.form],
                f"{formatting.count(campaign.votes_wanted, 'vote')} on each comparison",
                f"by {overview.owner}",
            ]
        ),
    )
    buttons = [
        widgets.link_button("Lineage", "lineage", campaign=campaign.id),
        widgets.link_button("All campaigns", "campaigns"),
    ]
    if votable:
        buttons.insert(0, widgets.link_button("Label", "label", primary=True, campaign=campaign.id))
    return widgets.page_header(campaign.name, lead, *buttons)


def missing(reason: str) -> Html:
    page = widgets.empty_state(
        "There is no such campaign",
        reason,
        widgets.link_button("All campaigns", "campaigns", primary=True),
        widgets.link_button("New campaign", "campaigns", new=1),
    )
    return widgets.join([widgets.page_header("Campaign not found"), page])


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
    results = widgets.link("Results", "results")
    sentence = Markup("You have seen who wrote which answer, so you cannot vote here. {} lists the votes.")
    return widgets.notice(sentence.format(results))


def _no_worker(queue: str) -> Html:
    with read_session() as session:
        if workers.consuming(session=session, queue=queue):
            return widgets.NOTHING
    missing = widgets.with_commands(presence.no_worker(queue))
    return widgets.notice(Markup("{} The answers wait in the queue.").format(missing), "warning")


def _failures(progress: Progress) -> Html:
    tasks = progress.tasks[TaskStatus.FAILED]
    return render(
        "campaigns/failures.html",
        answers=formatting.count(progress.failed_answers, "answer"),
        tasks=formatting.count(tasks, "comparison"),
        cannot="it" if tasks == 1 else "they",
        reasons=[widgets.with_commands(reason) for reason in progress.failures],
    )


def _bars(overview: Overview) -> Html:
    progress, tasks = overview.progress, overview.progress.tasks
    left = progress.seconds_left
    written = f"{progress.answered:,} of {formatting.count(progress.answers, 'answer')} written"
    votes = f"{progress.votes:,} of {formatting.count(progress.votes_wanted, 'vote')}"
    identical = tasks[TaskStatus.IDENTICAL]
    return render(
        "campaigns/bars.html",
        answers=widgets.bar(
            progress.answered / progress.answers if progress.answers else 0.0,
            written,
            f"about {formatting.duration(left)} left" if left is not None else "",
            live=progress.unwritten > 0,
        ),
        votes=widgets.bar(
            progress.votes / progress.votes_wanted if progress.votes_wanted else 0.0,
            votes,
            f"{max(0, progress.votes_wanted - progress.votes):,} to go",
            live=overview.campaign.status is CampaignStatus.OPEN,
        ),
        facts=widgets.facts(
            [
                ("Comparisons", f"{sum(tasks.values()):,}"),
                ("To judge", f"{tasks[TaskStatus.READY]:,}"),
                ("Waiting for answers", f"{tasks[TaskStatus.WAITING]:,}"),
                ("Identical answers, no vote needed", f"{identical:,}"),
                ("Failed", f"{tasks[TaskStatus.FAILED]:,}"),
                *([("Cost of the endpoints' answers", f"{progress.cost:,.4f}")] if progress.cost else []),
            ]
        ),
    )


def votes_section(overview: Overview) -> Html:
    """Votes by pair and by person."""
    progress = overview.progress
    pieces = []
    if len(progress.pairs) > 1:
        pieces.append(widgets.section("Votes by pair", _pairs(progress.pairs)))
    people = _people(progress.people) if progress.people else _nobody()
    pieces.append(widgets.section("Votes by person", people))
    return widgets.join(pieces)


def _pairs(pairs: Sequence[PairProgress]) -> Html:
    rows = [(f"{pair.first} and {pair.second}", _small_bar(pair.votes, pair.wanted)) for pair in pairs]
    return widgets.table(["Pair", "Votes"], rows, caption="Votes by pair", stack=False)


def _people(people: Sequence[PersonProgress]) -> Html:
    rows = [
        (
            person.name,
            f"{person.votes:,}",
            f"{person.skipped:,}",
            "–" if person.median_seconds is None else f"{person.median_seconds:.1f} s",
        )
        for person in people
    ]
    return widgets.table(
        ["Person", "Votes", "Skipped", "Median time"],
        rows,
        caption="Votes by person",
        numeric=(1, 2, 3),
        stack=False,
    )


def _nobody() -> Html:
    return Markup('<p class="hy-note">Nobody has voted yet.</p>')


def setup_section(overview: Overview) -> Html:
    """How the campaign was set up: decoding, order, voters, guidelines."""
    campaign = overview.campaign
    given = campaign.parameters
    decoding = (
        f"up to {given['max_new_tokens']:g} tokens, temperature {given['temperature']:g}, "
        f"top-p {given['top_p']:g}, seed {campaign.seed}"
    )
    facts = widgets.facts(
        [
            ("Decoding", decoding),
            ("Order", _ORDERS[campaign.order]),
            ("Who may vote", ", ".join(map(str, campaign.voters)) or "everybody"),
            ("Reason", "asked for after each vote" if campaign.ask_reason else "not asked for"),
            ("Aspects", ", ".join(map(str, campaign.aspects)) or "none"),
            ("Disagreements", ", ".join(["decided by the owner", *map(str, campaign.adjudicators)])),
            ("Repeats", _every(campaign.repeat_share)),
            ("Attention checks", _every(campaign.check_share)),
            ("Started", formatting.ago(campaign.created_at)),
        ]
    )
    guidelines = to_html(campaign.guidelines) if campaign.guidelines else widgets.NOTHING
    return widgets.section("Set-up", render("campaigns/setup.html", facts=facts, guidelines=guidelines))


def _every(share: float) -> str:
    return f"{100 * share:g} for every 100 comparisons" if share else "none"
