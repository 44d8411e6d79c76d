"""HTML pieces of the compare page: answers, departures from the reference, earlier turns, votes."""

import math
from collections.abc import Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from app import presence
from app.dispatch import GENERATE_QUEUE
from app.i18n import _, _html, in_language
from app.store.contenders import REFERENCE
from app.store.enums import Choice, GenerationStatus
from app.store.judging import LETTERS
from app.store.models import Contender, Generation, Label
from app.store.promotion import PROMOTED
from app.templates import render
from app.ui import formatting, parting, widgets
from app.ui.answer.address import answer_link
from app.ui.compare.names import contender_name, origin_words
from app.ui.compare.state import RecentConversation, Turn, View
from app.ui.updates import Updates
from app.ui.widgets import Html

MAX_LOG_RATIO = 3.0
"""The log-ratio, in nats, at which a token's colour saturates."""


def who(turn: Turn, side: int) -> Html:
    """The letter of a side and, once visible, the contender's name."""
    if turn.hidden:
        return render("compare/who.html", letter=LETTERS[side], badge="", origin="")
    contender = turn.contenders[side]
    badge = widgets.method_badge(contender.method, contender_name(contender), run=contender.run_id)
    return render("compare/who.html", letter=LETTERS[side], badge=badge, origin=_origin(contender))


def _origin(contender: Contender) -> str:
    if contender.run_id is not None:
        return widgets.link(_("run #{id}", id=contender.run_id), "run", id=contender.run_id)
    return origin_words(contender.method, contender.base_model, contender.run_id)


def panel(view: View, side: int) -> Html:
    """One current answer, with its numbers."""
    turn = view.current
    numbers = _numbers(turn.answers[side], hidden=turn.hidden)
    return _reply(turn, side, below=numbers + _departures(turn, side) + _opener(turn, side))


def _reply(turn: Turn, side: int, *, below: Html = widgets.NOTHING) -> Html:
    return render(
        "compare/reply.html",
        voted=turn.label is not None and turn.best == side,
        who=who(turn, side),
        verdict=_verdict(turn, side),
        text=_text(turn, side),
        below=below,
    )


def _text(turn: Turn, side: int) -> Html:
    answer = turn.answers[side]
    if answer.status is GenerationStatus.FAILED:
        untold = _("This answer failed; regenerate it. The error is shown with the names.")
        return widgets.error_banner(untold if turn.hidden else answer.error or _("The answer failed."))
    live = not answer.status.is_over
    if live and not answer.text:
        return Markup('<div class="hy-text hy-wait" aria-busy="true">{}<i></i></div>').format(
            in_language(turn.waits[side]) or _("writing")
        )
    if not answer.text:
        stopped = answer.status is GenerationStatus.STOPPED
        why = _("(empty: stopped)") if stopped else _("(empty: it ended at once)")
        return Markup('<div class="hy-text" translate="yes"><em class="hy-note">{}</em></div>').format(why)
    return Markup('<div class="hy-text{}" translate="no" {}>{}</div>').format(
        " hy-live" if live else "",
        Markup('aria-busy="true"') if live else "",
        parting.marked(answer.text, _shared(turn)),
    )


def _shared(turn: Turn) -> int | None:
    """The number of characters with which all answers begin, once they are over."""
    texts = [answer.text for answer in turn.answers if answer.text]
    return parting.shared_beginning(texts) if turn.over else None


def _opener(turn: Turn, side: int) -> Html:
    """A link to the answer's tokens, which tell the model and wait for the vote."""
    answer = turn.answers[side]
    written = answer.status.is_over and answer.status is not GenerationStatus.FAILED
    if turn.hidden or not written:
        return widgets.NOTHING
    return Markup('<p class="hy-note">{}</p>').format(answer_link(answer.id))


def _numbers(answer: Generation, *, hidden: bool) -> Html:
    """Tokens, seconds and log-probabilities; they could reveal the model, so they wait for the vote."""
    if answer.status in (GenerationStatus.QUEUED, GenerationStatus.FAILED):
        return widgets.NOTHING
    facts: list[tuple[str, object]] = []
    if not hidden:
        facts.append((_("tokens"), f"{answer.tokens:,}"))
        facts.append((_("seconds"), f"{answer.seconds:.1f}" if answer.seconds is not None else "–"))
    policy, reference = answer.policy_logp, answer.reference_logp
    if not hidden and answer.status.is_over and policy is not None and reference is not None:
        facts += [
            (_("log p, policy"), _minus(formatting.number(policy, 1))),
            (_("log p, reference"), _minus(formatting.number(reference, 1))),
            (_("difference"), _signed((policy or 0.0) - (reference or 0.0))),
        ]
    below = [
        _ending(answer),
        _("numbers appear after the vote") if hidden and answer.status.is_over else "",
    ]
    note = " · ".join(filter(None, [*below, _("seed {seed}", seed=answer.seed) if answer.take else ""]))
    return render("compare/numbers.html", facts=facts, note=note)


def _ending(answer: Generation) -> str:
    if answer.status is GenerationStatus.STOPPED:
        return _("stopped")
    if answer.status is GenerationStatus.FINISHED and not answer.complete:
        return _("cut at the length limit")
    return ""


def _signed(value: float) -> str:
    return _minus(f"{value:+,.1f}") if round(value, 1) else "0.0"


def _minus(number: str) -> str:
    return number.replace("-", "−")


def _departures(turn: Turn, side: int) -> Html:
    answer = turn.answers[side]
    if turn.hidden or not answer.status.is_over or turn.contenders[side].method == REFERENCE:
        return widgets.NOTHING
    return departures(answer.token_logps)


def departures(token_logps: Sequence[Any] | None) -> Html:
    """The answer's tokens, coloured by their log-ratio between policy and reference."""
    if not token_logps:
        return widgets.NOTHING
    tokens = [_token(str(text), policy, reference) for text, policy, reference in token_logps]
    return render("compare/departures.html", tokens=tokens)


def _token(text: str, policy: float, reference: float) -> dict[str, Any]:
    """A token, its log-ratio (None if not finite), and its colour strength in per cent."""
    ratio = policy - reference
    if not math.isfinite(ratio):
        return {"text": text, "ratio": None}
    share = min(abs(ratio) / MAX_LOG_RATIO, 1.0)
    numbers = _(
        "log-ratio {ratio}: policy {policy}, reference {reference}",
        ratio=f"{ratio:+.2f}",
        policy=f"{policy:.2f}",
        reference=f"{reference:.2f}",
    )
    return {
        "text": text,
        "ratio": ratio,
        "share": f"{100 * share if share >= 0.03 else 0:.0f}",
        "numbers": numbers,
    }


# --- turns and votes -------------------------------------------------------------------------


def question(view: View, turn: Turn) -> Html:
    """A question; the first one includes the messages that precede it."""
    opening = view.conversation.opening if turn.comparison.turn == 0 else None
    return render(
        "compare/question.html",
        history=history(opening) if opening else "",
        number=turn.comparison.turn + 1,
        text=widgets.escape(turn.comparison.question),
    )


def history(opening: Sequence[Any]) -> Html:
    """The messages before the first question, which all contenders receive."""
    return render("compare/history.html", count=len(opening), messages=widgets.messages(opening))


def earlier_turns(view: View) -> Html:
    """The earlier questions, each with its answers side by side and the vote."""
    return widgets.join(
        render(
            "compare/earlier_turn.html",
            question=question(view, turn),
            cards=[_reply(turn, side, below=_opener(turn, side)) for side in range(len(turn.answers))],
            note=" ".join(filter(None, (vote_sentence(turn), continues(view, turn)))),
        )
        for turn in view.turns[:-1]
    )


def continues(view: View, turn: Turn) -> str:
    """A sentence that names the earlier answer a turn continues; empty for the first turn."""
    if turn.comparison.turn == 0:
        return ""
    if turn.origin is None:
        return _("Each continued its own answer; a vote on it makes no training pair.")
    origin = view.turns[turn.comparison.turn - 1].title(turn.origin)
    return _("All continued from answer {answer}.", answer=origin)


def _verdict(turn: Turn, position: int) -> Html:
    words = {turn.best: "best", turn.worst: "worst"} if turn.label else {}
    if position not in words or position is None:
        return widgets.NOTHING
    word = words[position]
    if word == "worst" and len(turn.answers) == 2:
        return widgets.NOTHING
    shown = _("better") if len(turn.answers) == 2 else _("best") if word == "best" else _("worst")
    return Markup('<span class="hy-verdict hy-{}">{}</span>').format(word, shown)


def vote_sentence(turn: Turn) -> str:
    """The reader's vote in words; empty without a vote."""
    return "" if turn.label is None else _("You voted: {choice}.", choice=_choice_words(turn, turn.label))


def _choice_words(turn: Turn, label: Label) -> str:
    two = len(turn.answers) == 2
    if label.choice is Choice.TIE:
        return _("tie") if two else _("all alike")
    if label.choice is Choice.ALL_BAD or turn.best is None or turn.worst is None:
        return _("both bad") if two else _("all bad")
    if two:
        return _("{answer} is better", answer=turn.title(turn.best))
    return _("{best} is best, {worst} worst", best=turn.title(turn.best), worst=turn.title(turn.worst))


def vote_note(view: View) -> Html:
    """The state of the vote: locked (with the reason), open, or cast."""
    turn = view.current
    if not turn.over:
        return Markup('<p class="hy-note">{}</p>').format(_("You can vote when all answers are complete."))
    if turn.label is not None:
        change = _("Choose again to change it.") if len(turn.answers) == 2 else _("Vote again to change it.")
        return Markup('<p class="hy-note" data-hy-voted><strong>{}</strong> {}</p>').format(
            vote_sentence(turn), in_language(turn.problem) or change
        )
    if turn.problem:
        return Markup('<p class="hy-note" role="status">{}</p>').format(in_language(turn.problem))
    said = [
        _("Your vote?"),
        _("The names appear after the vote.") if turn.hidden else "",
        _("You have seen the names, so it will not count as blind.") if _seen_before(view) else "",
        _("Arrow keys: ← A, → B, ↑ tie, ↓ both bad.") if len(turn.answers) == 2 else "",
    ]
    return Markup('<p class="hy-note">{}</p>').format(" ".join(filter(None, said)))


def _seen_before(view: View) -> bool:
    return view.conversation.blind and not view.current.hidden


def present_question(view: View) -> Html:
    """The current question, with a note on the earlier answer it continues."""
    turn = view.current
    note = continues(view, turn)
    below = Markup('<p class="hy-note">{}</p>').format(note) if note else widgets.NOTHING
    return question(view, turn) + below


def summary(view: View) -> Html:
    """The shared decoding parameters, and links to a new conversation with the same contenders."""
    given = view.conversation.parameters
    parts = [
        _("two stored answers; a question asked now has these settings") if PROMOTED in given else "",
        _("seed {seed}", seed=view.conversation.seed),
        _("up to {n} tokens", n=given.get("max_new_tokens")),
        _("temperature {value}", value=f"{given.get('temperature'):g}"),
        _("top-p {value}", value=f"{given.get('top_p'):g}"),
        _("blind: names appear after the vote on each question") if view.conversation.blind else "",
    ]
    here = view.conversation.id
    several = len(view.conversation.contenders) > 1
    actions = [
        parting.toggle() if several else widgets.NOTHING,
        widgets.link_button(_("Score a text"), "score", conversation=here),
        widgets.link_button(_("New conversation"), "compare", like=here),
        widgets.link_button(_("New held-out prompt"), "compare", like=here, prompt="random"),
    ]
    return render("compare/summary.html", decoding=" · ".join(filter(None, parts)), actions=actions)


def recent_list(found: Sequence[RecentConversation], present: int) -> Html:
    """Links to the newest conversations."""
    if not found:
        return widgets.NOTHING
    lines = [
        {
            "present": line.id == present,
            "link": widgets.link(
                widgets.written(line.question, 80) if line.question else _("(no question)"),
                "compare",
                conversation=line.id,
            ),
            "names": " / ".join(line.names) or _("names hidden"),
            "turns": formatting.count(line.turns, "turn"),
            "ago": formatting.ago(line.conversation.created_at),
        }
        for line in found
    ]
    return widgets.section(_("Your conversations"), render("compare/recent.html", lines=lines))


def no_worker() -> Html:
    missing = widgets.with_commands(in_language(presence.no_worker(GENERATE_QUEUE)))
    return widgets.notice(_html("{reason} Questions asked now wait in the queue.", reason=missing), "warning")


def asking(*, ready: bool, why: str = "") -> Updates:
    """Enable the button that sends a question, or say why it is disabled."""
    note = Markup('<p class="hy-note" role="status">{}</p>').format("" if ready else why)
    return {"ask": gr.update(interactive=ready), "ask_note": note}


def untrained(unfinished: Sequence[int]) -> Html:
    """What to do while only the reference can answer."""
    if not unfinished:
        said = _html(
            "No run is finished, so only the reference can answer. {launch} to compare with it.",
            launch=widgets.link(_("Launch DPO and HyPO"), "launch"),
        )
    else:
        links = [widgets.link(_("run {id}", id=run_id), "run", id=run_id) for run_id in unfinished]
        said = _html(
            "No run is finished, so only the reference can answer. The others are still to be trained: "
            "{runs}.",
            runs=widgets.join(links, ", "),
        )
    return Markup('<p class="hy-note">{}</p>').format(said)
