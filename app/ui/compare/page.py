"""Compare: up to four models answer the same question side by side, and people vote."""

from functools import partial
from typing import Any

import gradio as gr

from app.ui import events
from app.ui.compare import actions, setup
from app.ui.compare.layout import Layout, lay_out
from app.ui.compare.show import UPDATED, Seen
from app.ui.updates import Components, Updates, connect, pick

_QUIET: dict[str, Any] = {**events.QUIET, "concurrency_limit": None}

LEAVE_QUESTION = """() => {
    if (document.getElementById("hy-vote-a")?.offsetParent) document.activeElement?.blur();
}"""
"""Take the focus off the question box after a question; the arrow keys vote between two answers.
"""

KEEP_ADDRESS = """(id) => {
    if (!id) return;
    const address = new URL(location.href);
    address.search = "?conversation=" + id;
    history.replaceState(null, "", address);
}"""


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    outputs = pick(page.components, *UPDATED)
    _wire_opening(page, outputs)
    _wire_question(page, outputs)
    _wire_voting(page, outputs)
    _wire_answers(page, outputs)


def _here(page: Layout) -> list[Any]:
    """The common inputs of all actions: the conversation, and the state this page has shown."""
    return [page.frame.conversation, page.frame.seen]


def _wire_opening(page: Layout, outputs: Components) -> None:
    parts, frame, question = page.components, page.frame, page.question
    begun = ("contenders", "seed", "blind", "max_new_tokens", "temperature", "top_p", "untrained")
    chosen = pick(parts, "twins", "ask", "ask_note")
    prompt = pick(parts, "ask_box", "opening", "opening_shown", "opening_box")
    # From top to bottom, so that nothing that is shown is pushed down by what loads above it.
    offered = connect(events.on_load, setup.offer, frame.kept, {**pick(parts, *begun), **chosen, **prompt})
    opened = connect(offered.then, actions.open_page, None, outputs, **{**_QUIET, "queue": True})
    opened.then(actions.show_question, frame.conversation, [question.ask_row, question.prompts], **_QUIET)
    contenders = page.setup.contenders
    connect(contenders.input, setup.choose, contenders, chosen, **{**_QUIET, "trigger_mode": "always_last"})
    connect(page.setup.twins.click, setup.choose_twins, None, {**chosen, "contenders": contenders}, **_QUIET)
    once: dict[str, Any] = {**_QUIET, "trigger_mode": "once"}
    connect(frame.timer.tick, actions.refresh, _here(page), outputs, **once)
    frame.conversation.change(None, frame.conversation, None, js=KEEP_ADDRESS)
    connect(frame.look.click, actions.watch, _here(page), outputs, **once)
    connect(question.random.click, setup.random_prompt, contenders, prompt, **_QUIET)
    without = [question.opening, question.opening_shown, question.opening_box]
    question.drop_opening.click(setup.drop_opening, None, without, **_QUIET)


def _wire_question(page: Layout, outputs: Components) -> None:
    how, question = page.setup, page.question
    decoding = [how.seed, how.max_new_tokens, how.temperature, how.top_p]
    asked = [how.contenders, question.ask_box, how.blind, *decoding, question.continues, question.opening]
    sent = connect(
        partial(gr.on, [question.ask_box.submit, question.ask.click]),
        actions.ask,
        [*_here(page), *asked],
        {**outputs, "ask_box": question.ask_box},
        trigger_mode="once",
        **_QUIET,
    )
    sent.success(None, None, None, js=LEAVE_QUESTION)
    chosen = [how.contenders, how.blind, how.max_new_tokens, how.temperature, how.top_p]
    sent.success(setup.remember, chosen, page.frame.kept, **_QUIET)


def _wire_voting(page: Layout, outputs: Components) -> None:
    voting, here = page.voting, _here(page)
    reason = voting.reason
    for button, handler in (
        (voting.vote_a, vote_a),
        (voting.vote_b, vote_b),
        (voting.vote_tie, vote_tie),
        (voting.vote_bad, vote_bad),
        (voting.vote_many_tie, vote_tie),
        (voting.vote_many_bad, vote_bad),
    ):
        connect(button.click, handler, [*here, reason], outputs, **_QUIET)
    picked = [voting.best, voting.worst]
    connect(voting.vote_many.click, vote_many, [*here, *picked, reason], outputs, **_QUIET)
    connect(voting.withdraw.click, actions.withdraw, here, outputs, **_QUIET)
    connect(voting.show_names.click, actions.show_names, here, outputs, **_QUIET)
    for event in (reason.submit, reason.blur):
        connect(event, actions.save_reason, [*here, reason], outputs, **_QUIET)


def _wire_answers(page: Layout, outputs: Components) -> None:
    here = _here(page)
    for number, side in enumerate(page.conversation.sides):
        stop, again = _side_handlers(number)
        connect(side.stop.click, stop, here, outputs, **_QUIET)
        connect(side.again.click, again, here, outputs, **_QUIET)
    connect(page.conversation.stop_all.click, stop_all, here, outputs, **_QUIET)


# --- handlers --------------------------------------------------------------------------------


def vote_a(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Updates:
    return actions.vote("A", conversation_id, seen, "", reason, request)


def vote_b(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Updates:
    return actions.vote("B", conversation_id, seen, "", reason, request)


def vote_tie(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Updates:
    return actions.vote("tie", conversation_id, seen, "", reason, request)


def vote_bad(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Updates:
    return actions.vote("both bad", conversation_id, seen, "", reason, request)


def vote_many(
    conversation_id: float,
    seen: Seen,
    best: str | None,
    worst: str | None,
    reason: str,
    request: gr.Request | None = None,
) -> Updates:
    """Vote for the best and worst of three or four answers."""
    return actions.vote(best or "", conversation_id, seen, worst or "", reason, request)


def stop_all(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    return actions.stop(None, conversation_id, seen, request)


def _side_handlers(side: int) -> tuple[Any, Any]:
    def stop(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
        return actions.stop(side, conversation_id, seen, request)

    def again(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
        return actions.regenerate(side, conversation_id, seen, request)

    return stop, again
