"""HTML pieces of the results page: win rates, voters' biases, the list of votes."""

from collections.abc import Sequence

from markupsafe import Markup

from app.board import Board, Model, Record, wilson
from app.campaigns import Starts
from app.exports.counts import MEANINGS
from app.exports.labels import TrlCounts
from app.i18n import _, _html, _n
from app.imports.service import AddedDataset
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.judging import LETTERS
from app.store.models import Comparison, LabelVersion
from app.store.vote_details import Side, Vote
from app.templates import render
from app.ui import formatting, widgets
from app.ui.answer.address import answer_link
from app.ui.compare.names import contender_name, model_name, origin_words
from app.ui.widgets import Html
from hypo_engine.config import Method


def nothing_yet() -> Html:
    return widgets.empty_state(
        _("No votes yet"),
        _(
            "Ask two or more models the same question, vote for the better answer, and see here "
            "which model wins."
        ),
        widgets.link_button(_("Compare models"), "compare", primary=True),
    )


def names_hidden(votes: int) -> Html:
    """A notice that explains why some votes are hidden from the reader."""
    return widgets.notice(
        _n(
            "{n} vote is not counted here: the answers' names are still hidden from you. Vote on them in "
            "Compare, or show the names. Once you show them, your later votes there do not count as blind, "
            "and in a campaign you can no longer vote.",
            "{n} votes are not counted here: the answers' names are still hidden from you. Vote on them in "
            "Compare, or show the names. Once you show them, your later votes there do not count as blind, "
            "and in a campaign you can no longer vote.",
            votes,
        )
    )


# --- win rates -------------------------------------------------------------------------------


def win_rates(records: Sequence[Record], of: int) -> Html:
    """One line per pair of compared models: the share of votes for the first, with its interval.

    Args:
        of: total number of pairs, on all pages.
    """
    rows = [
        (
            model_badge(record.first),
            model_badge(record.second),
            _rate(record),
            f"{record.wins} : {record.losses}",
            record.ties,
            record.all_bad,
            _verdict(record),
        )
        for record in records
    ]
    table = widgets.table(
        [
            _("Model"),
            _("against"),
            _("preferred, with 95% interval"),
            _("votes"),
            _("ties"),
            _("all bad"),
            _("so far"),
        ],
        rows,
        caption=_("Win rates"),
        numeric=(3, 4, 5),
    )
    note = _("ties and all bad are not in the share; the interval is Wilson's")
    if of > len(records):
        note = _(
            "{n} pairs of models, most votes first; ties and all bad are not in the share; the interval is "
            "Wilson's",
            n=f"{of:,}",
        )
    return widgets.section(_("Win rates"), table, note)


def model_badge(model: Model) -> Html:
    """A model's badge with a link to its run; a base model and a deleted run say so."""
    badge = widgets.method_badge(model.method, model_name(model.method, model.name), run=model.run_id)
    if model.run_id is None:
        where = origin_words(model.method, model.base_model, model.run_id)
        return Markup('{} <small class="hy-note">{}</small>').format(badge, where)
    return Markup("{} {}").format(badge, widgets.link(f"#{model.run_id}", "run", id=model.run_id))


def _rate(record: Record) -> Html:
    if record.win_rate is None or record.interval is None:
        return Markup('<span class="hy-note">{}</span>').format(_("no vote prefers one"))
    return rate(record.win_rate, *record.interval)


def rate(share: float, low: float, high: float) -> Html:
    """A share with its interval, in numbers and as a bar; all are between 0 and 1."""
    return render(
        "results/rate.html",
        share=100 * share,
        low=100 * low,
        high=100 * high,
        range=_range(low, high),
    )


def _range(low: float, high: float) -> str:
    return f"{100 * low:.0f}–{100 * high:.0f}%"


def _verdict(record: Record) -> str:
    more = record.more_votes
    if more == 0 and record.win_rate is not None:
        ahead = record.first if record.win_rate > 0.5 else record.second
        return _("{model} is ahead", model=model_name(ahead.method, ahead.name))
    if more is None:
        return _("even") if record.decided else _("unknown")
    return _n(
        "undecided; about {n} more vote at this share would decide",
        "undecided; about {n} more votes at this share would decide",
        more,
    )


# --- habits ----------------------------------------------------------------------------------


def habits(board: Board) -> Html:
    """The influence of side, length and voter on the votes."""
    facts = {
        _("votes"): f"{board.votes:,}",
        _("cast blind"): _share(board.blind, board.votes, interval=False),
        _("for the left side"): _share(board.first_side, board.two_sided),
        _("for the longer answer"): _share(board.longer, board.longer_of),
        _("same vote by two people"): _share(board.agreements, board.agreement_of, interval=False),
    }
    return widgets.section(_("What sways the votes"), widgets.facts(facts), _bias_note(board))


def _share(part: int, whole: int, *, interval: bool = True) -> str:
    if whole == 0:
        return "–"
    words = _("{percent}% of {total}", percent=f"{100 * part / whole:.0f}", total=whole)
    return f"{words} ({_range(*wilson(part, whole))})" if interval else words


def _bias_note(board: Board) -> str:
    """A warning if an interval excludes 50%."""
    found = [
        name
        for name, part, whole in (
            (_("the side"), board.first_side, board.two_sided),
            (_("the length"), board.longer, board.longer_of),
        )
        if whole and not wilson(part, whole)[0] <= 0.5 <= wilson(part, whole)[1]
    ]
    if not found:
        return ""
    return _("{causes} may sway the votes", causes=formatting.in_words(found))


# --- export ----------------------------------------------------------------------------------


def export_counts(found: TrlCounts) -> Html:
    """The number of training pairs from the votes, and the reasons for votes left out."""
    lines = [
        _n(
            "{n} vote left out: {reason}",
            "{n} votes left out: {reason}",
            found.left_out[reason.value],
            reason=_(MEANINGS[reason]),
        )
        for reason in WhyLeftOut
        if found.left_out.get(reason.value)
    ]
    if found.cut:
        with_cut = _n(
            "{n} pair has an answer that was cut at the length limit; the file marks it",
            "{n} pairs have an answer that was cut at the length limit; the file marks it",
            found.cut,
        )
        lines.insert(0, with_cut)
    pairs = formatting.count(found.rows, "training pair")
    return render("results/export_counts.html", pairs=pairs, lines=lines)


def became_dataset(added: AddedDataset, starts: Starts, *, method: Method | None = None) -> Html:
    """A notice with links to the dataset and to Launch.

    Args:
        starts: the models that the next run may start from.
        method: the method that Launch opens with; None leaves it.
    """
    asked: dict[str, object] = {"dataset": added.id} | ({"method": method.value} if method else {})
    links = [widgets.link(shown, "launch", **asked, start=base) for base, shown in starts.policies]
    if len(starts.references) == 1:
        asked["start"] = starts.references[0]
    holds = _html(
        "Version {version} of the dataset <strong>{name}</strong> holds {pairs}.",
        version=added.version,
        name=added.name,
        pairs=formatting.count(added.rows, "pair"),
    )
    look = widgets.link(_("Look at it"), "datasets", id=added.id)
    launch = widgets.link(_("or launch a run on it"), "launch", **asked)
    if links:
        then = _html(
            "{look} {launch} from the original reference, or from a policy: {policies}.",
            look=look,
            launch=launch,
            policies=widgets.join(links, ", "),
        )
    else:
        then = _html("{look} {launch}.", look=look, launch=launch)
    return widgets.notice(widgets.join([holds, then], " "), "good")


# --- the list --------------------------------------------------------------------------------


def vote_list(votes: Sequence[Vote], *, user: str) -> Html:
    """A table of votes; users can change their own."""
    rows = [
        (
            f"#{vote.label.id}",
            formatting.ago(vote.label.updated_at),
            vote.user,
            _question(vote.comparison),
            verdict(vote),
            _blind(vote.label.blind),
            "" if vote.hidden else widgets.written(vote.label.reason, 90),
            _change(vote, user),
        )
        for vote in votes
    ]
    headers = [_("vote"), _("when"), _("who"), _("question"), _("verdict"), _("names"), _("reason"), ""]
    return widgets.table(headers, rows, caption=_("Votes"))


def _blind(blind: bool) -> str:
    return _("blind") if blind else _("not blind")


def _question(comparison: Comparison) -> Html:
    """The question, with a link to its conversation or campaign."""
    text = widgets.written(comparison.question, 70)
    if comparison.campaign_id is not None:
        return widgets.link(text, "campaigns", campaign=comparison.campaign_id)
    return widgets.link(text, "compare", conversation=comparison.conversation_id)


def _change(vote: Vote, user: str) -> Html:
    if vote.user != user or vote.hidden:
        return widgets.NOTHING
    return widgets.link(_("change"), "results", vote=vote.label.id)


def verdict(vote: Vote) -> Html:
    """The verdict in display order; hidden from a reader who may still vote blind."""
    if vote.hidden:
        of_campaign = vote.comparison.campaign_id is not None
        hidden = (
            _("hidden until the campaign's names are shown") if of_campaign else _("hidden until you vote")
        )
        return Markup('<span class="hy-note">{}</span>').format(hidden)
    two = len(vote.sides) == 2
    if vote.label.choice is Choice.TIE:
        return Markup("{}<br>{}").format(_("tie") if two else _("all alike"), _sides(vote.sides))
    if vote.label.choice is Choice.ALL_BAD or vote.best is None or vote.worst is None:
        return Markup("{}<br>{}").format(_("both bad") if two else _("all bad"), _sides(vote.sides))
    preferred = _html(
        '{best} <span class="hy-note">over</span> {worst}', best=_opener(vote.best), worst=_opener(vote.worst)
    )
    return preferred + _remarks(vote)


def _remarks(vote: Vote) -> Html:
    """Remarks on the vote: answers unfit for a training pair, and earlier changes."""
    answers = (vote.best.answer, vote.worst.answer) if vote.best and vote.worst else ()
    said = []
    if any(answer.status is not GenerationStatus.FINISHED for answer in answers):
        said.append(_("an answer was stopped or failed: no training pair"))
    elif not all(answer.complete for answer in answers):
        said.append(_("an answer was cut at the length limit"))
    if vote.earlier:
        said.append(_n("changed {n} time", "changed {n} times", len(vote.earlier)))
    if not said:
        return widgets.NOTHING
    return Markup('<br><small class="hy-note">{}</small>').format(" · ".join(said))


def _sides(sides: Sequence[Side]) -> Html:
    return Markup('<small class="hy-note">{}</small>').format(
        " / ".join(contender_name(side.contender) for side in sides)
    )


def _side(side: Side) -> Html:
    contender = side.contender
    return widgets.method_badge(contender.method, contender_name(contender), run=contender.run_id)


def _opener(side: Side) -> Html:
    """The model's badge, as a link to its answer token by token."""
    return answer_link(side.answer.id, _side(side))


def changing(vote: Vote) -> Html:
    """The question, the answers and the earlier versions of a vote that is being changed."""
    answers = [
        {"letter": side.letter, "badge": _opener(side), "text": widgets.escape(side.answer.text)}
        for side in vote.sides
    ]
    return render(
        "results/changing.html",
        id=vote.label.id,
        question=widgets.escape(vote.comparison.question),
        answers=answers,
        history=_history(vote),
    )


def _history(vote: Vote) -> Html:
    """Earlier versions of a vote, oldest first."""
    if not vote.earlier:
        return widgets.NOTHING
    rows = [
        (
            formatting.ago(version.given_at),
            _words(version, len(vote.sides)),
            _blind(version.blind),
            version.reason,
            _("withdrawn") if version.withdrawn else _("changed"),
        )
        for version in vote.earlier
    ]
    headers = [_("given"), _("verdict"), _("names"), _("reason"), _("then")]
    return widgets.table(headers, rows, caption=_("Earlier versions of this vote"))


def _words(version: LabelVersion, count: int) -> str:
    letters = dict(zip(version.shown, LETTERS, strict=False))
    if version.choice is Choice.TIE:
        return _("tie") if count == 2 else _("all alike")
    if version.choice is Choice.ALL_BAD or version.best_id is None or version.worst_id is None:
        return _("both bad") if count == 2 else _("all bad")
    best, worst = letters.get(version.best_id, "?"), letters.get(version.worst_id, "?")
    return _("{best} over {worst}", best=best, worst=worst)
