"""What happens on the compare page: a function does one thing and says what the page shows then.

The page's parts have names; a function returns its updates in the order of PARTS, with `gr.skip()` for what
stays. While answers grow, only panels that changed are sent, so that open details and selections survive.
"""

import time
from collections.abc import Callable
from typing import Any, TypedDict

import gradio as gr

from app import answers
from app.errors import AppError, NotFound
from app.store import labels
from app.store.conversations import MAX_CONTENDERS, Decoding
from app.store.db import write_session
from app.store.enums import Choice
from app.store.labels import LETTERS
from app.ui import compare_html, compare_state, widgets
from app.ui.compare_state import Turn, View

EACH_ITS_OWN = "each its own"
SIDES = range(MAX_CONTENDERS)
TWO_BUTTONS = ("vote_a", "vote_tie", "vote_bad", "vote_b")
MANY_BUTTONS = ("vote_many", "vote_many_tie", "vote_many_bad")

PARTS = (
    "conversation",
    "seen",
    "timer",
    "no_worker",
    "setup",
    "summary",
    "earlier",
    "question",
    *(f"{part}{side}" for side in SIDES for part in ("column", "panel", "stop", "again")),
    "stop_all",
    "votes_two",
    *TWO_BUTTONS,
    "votes_many",
    "best",
    "worst",
    *MANY_BUTTONS,
    "voting",
    "vote_note",
    "reason",
    "withdraw",
    "continues",
    "recent",
)
"""Names of what the functions below update, in the order of their results."""

Shown = list[Any]


class Seen(TypedDict, total=False):
    """What this open page shows already."""

    comparison: int
    answers: list[int]
    panels: list[str]
    ready_at: float | None


def in_order(updates: dict[str, Any]) -> Shown:
    """Updates by name as a list in the order of PARTS."""
    unknown = updates.keys() - set(PARTS)
    if unknown:
        raise KeyError(f"no such parts: {sorted(unknown)}")
    return [updates.get(name, gr.skip()) for name in PARTS]


def saying_why(act: Callable[[], Any]) -> Any:
    """Do something; an error meant for people becomes a message on the page."""
    try:
        return act()
    except AppError as error:
        raise gr.Error(str(error), duration=8, print_exception=False) from error


def _overtaken(view: View, seen: Seen, user: str, *, then: str) -> Shown | None:
    """The view as it is now, where this page has not shown its last question or one of its answers yet.

    Another tab may have asked on or regenerated: what is clicked here must not reach what was never seen.
    """
    if seen.get("comparison") == view.current.comparison.id and seen.get("answers") == _ids(view):
        return None
    gr.Warning(f"The conversation went on in another tab; look again, then {then}.", duration=8)
    return in_order({**show(view, {}), **_recent(view.conversation.id, user)})


def _ids(view: View) -> list[int]:
    return [answer.id for answer in view.current.answers]


# --- events ----------------------------------------------------------------------------------


def open_page(request: gr.Request | None = None) -> Shown:
    """The page of an address: `?conversation=5` goes on where that one is."""
    wanted = widgets.query(request, "conversation")
    user = widgets.username(request)
    start = {"setup": gr.update(visible=True), **_recent(0, user)}
    ids = widgets.query_ids(request, "conversation")
    if not wanted:
        return in_order(start)
    try:
        if not ids:
            raise NotFound("There is no such conversation; start a new one below.")
        view = compare_state.read_view(ids[0], user)
    except NotFound as error:
        sorry = widgets.notice(str(error), "warning")
        return in_order({"summary": gr.update(value=sorry, visible=True), **start})
    return in_order({**show(view, {}), **_recent(view.conversation.id, user)})


def refresh(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Shown:
    """The timer: what grew since the last look."""
    if not conversation_id:
        return in_order({"timer": gr.Timer(active=False)})
    view = compare_state.read_view(int(conversation_id), widgets.username(request))
    return in_order(show(view, seen))


def ask(
    conversation_id: float,
    seen: Seen,
    keys: list[str],
    question: str,
    blind: bool,
    seed: float,
    max_new_tokens: float,
    temperature: float,
    top_p: float,
    continues: str,
    request: gr.Request | None = None,
) -> Shown:
    """Put a question: a first one starts a conversation. The last result empties the question box."""
    user = widgets.username(request)
    if conversation_id:
        here = compare_state.read_view(int(conversation_id), user)
        overtaken = _overtaken(here, seen, user, then="ask")
        if overtaken is not None:
            return [*overtaken, gr.skip()]

    def act() -> int:
        if conversation_id:
            origin = LETTERS.index(continues[:1]) if continues and continues != EACH_ITS_OWN else None
            return answers.follow_up(int(conversation_id), question, continues_from=origin).conversation_id
        return answers.begin(
            [compare_state.to_choice(key) for key in keys],
            question,
            user=user,
            blind=blind,
            seed=int(seed or 0),
            decoding=Decoding(int(max_new_tokens or 0), float(temperature or 0), float(top_p or 0)),
        ).conversation_id

    view = compare_state.read_view(saying_why(act), user)
    return [*in_order({**show(view, {}), **_recent(view.conversation.id, user)}), ""]


def vote(
    choice: str, conversation_id: float, seen: Seen, worst: str, reason: str, request: gr.Request | None
) -> Shown:
    """Vote on the last question, or change the vote."""
    user = widgets.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="vote")
    if overtaken is not None:
        return overtaken
    comparison_id = view.current.comparison.id
    ready_at = seen.get("ready_at")
    seconds = None if ready_at is None else round(time.time() - ready_at, 1)
    saying_why(
        lambda: answers.vote(
            comparison_id, choice, user=user, worst=worst, reason=reason or "", seconds=seconds
        )
    )
    return _voted(int(conversation_id), user)


def save_reason(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Shown:
    """Keep the reason of a vote that was cast; before the vote it waits for it."""
    user = widgets.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    label = next((turn.label for turn in view.turns if turn.comparison.id == seen.get("comparison")), None)
    if label is None or label.reason == (reason or "").strip():
        return in_order({})
    overtaken = _overtaken(view, seen, user, then="say why")
    if overtaken is not None:
        return overtaken

    def act() -> None:
        with write_session() as session:
            labels.vote(
                label.comparison_id,
                session=session,
                user=user,
                choice=label.choice,
                best=view.current.best,
                worst=view.current.worst,
                reason=reason or "",
            )

    saying_why(act)
    gr.Info("The reason is kept with your vote.", duration=3)
    return _voted(int(conversation_id), user)


def withdraw(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Shown:
    """Take the vote on the last question back."""
    user = widgets.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="withdraw")
    if overtaken is not None:
        return overtaken
    label = view.current.label
    if label is not None:

        def act() -> None:
            with write_session() as session:
                labels.withdraw(label.id, session=session, user=user)

        saying_why(act)
    return _voted(int(conversation_id), user)


def stop(
    position: int | None, conversation_id: float, seen: Seen, request: gr.Request | None = None
) -> Shown:
    """Stop the answer of a side, or of all."""
    user = widgets.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="stop")
    if overtaken is not None:
        return overtaken
    saying_why(lambda: answers.stop(view.current.comparison.id, position))
    return refresh(conversation_id, seen, request)


def regenerate(position: int, conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Shown:
    """Ask one side again, with the next seed."""
    user = widgets.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="regenerate")
    if overtaken is not None:
        return overtaken
    saying_why(lambda: answers.regenerate(view.current.comparison.id, position))
    return in_order(show(compare_state.read_view(int(conversation_id), user), {}))


def _voted(conversation_id: int, user: str) -> Shown:
    view = compare_state.read_view(conversation_id, user)
    return in_order({**show(view, {}), **_recent(conversation_id, user)})


# --- what the page shows ---------------------------------------------------------------------


def show(view: View, seen: Seen) -> dict[str, Any]:
    """Updates for a view; of a comparison that is shown already only what changed."""
    turn = view.current
    fresh = seen.get("comparison") != turn.comparison.id
    panels = [str(compare_html.panel(view, side)) for side in range(len(view.contenders))]
    before = [] if fresh else seen.get("panels", [])
    if panels == before and _ids(view) == seen.get("answers"):
        return {}
    ready_at = None if fresh else seen.get("ready_at")
    if turn.over and ready_at is None:
        ready_at = time.time()
    updates: dict[str, Any] = {
        "seen": Seen(comparison=turn.comparison.id, answers=_ids(view), panels=panels, ready_at=ready_at),
        "timer": gr.Timer(active=not turn.over),
        **_sides(view, panels, before),
        **_voting(view),
    }
    if fresh:
        updates |= _frame(view) | _fields(view)
    return updates


def _frame(view: View) -> dict[str, Any]:
    return {
        "conversation": view.conversation.id,
        "no_worker": gr.update(visible=not compare_state.worker_present()),
        "setup": gr.update(visible=False),
        "summary": gr.update(value=compare_html.summary(view), visible=True),
        "earlier": gr.update(value=compare_html.earlier_turns(view), visible=len(view.turns) > 1),
        "question": gr.update(value=compare_html.present_question(view), visible=True),
    }


def _sides(view: View, panels: list[str], before: list[str]) -> dict[str, Any]:
    """Panels that changed, and what can be done with each answer."""
    turn = view.current
    updates: dict[str, Any] = {}
    for side in SIDES:
        there = side < len(panels)
        updates[f"column{side}"] = gr.update(visible=there)
        if not there:
            continue
        over = turn.answers[side].status.is_over
        if panels[side : side + 1] != before[side : side + 1]:
            updates[f"panel{side}"] = panels[side]
        updates[f"stop{side}"] = gr.update(visible=not over)
        updates[f"again{side}"] = gr.update(visible=over and turn.label is None)
    updates["stop_all"] = gr.update(visible=not turn.over and len(panels) > 1)
    return updates


def _voting(view: View) -> dict[str, Any]:
    """Buttons, locked while text streams; the choice that was made stands out."""
    turn = view.current
    count = len(view.contenders)
    chosen = _chosen_button(turn)
    buttons = TWO_BUTTONS if count == 2 else MANY_BUTTONS
    return {
        "voting": gr.update(visible=count > 1),
        "votes_two": gr.update(visible=count == 2),
        "votes_many": gr.update(visible=count > 2),
        **{
            name: gr.update(interactive=turn.votable, variant="primary" if name == chosen else "secondary")
            for name in buttons
        },
        "best": gr.update(interactive=turn.votable),
        "worst": gr.update(interactive=turn.votable),
        "vote_note": compare_html.vote_note(view),
        "withdraw": gr.update(visible=turn.label is not None),
    }


def _chosen_button(turn: Turn) -> str | None:
    label, two = turn.label, len(turn.answers) == 2
    if label is None:
        return None
    if label.choice is Choice.TIE:
        return "vote_tie" if two else "vote_many_tie"
    if label.choice is Choice.ALL_BAD:
        return "vote_bad" if two else "vote_many_bad"
    return ("vote_a" if turn.best == 0 else "vote_b") if two else "vote_many"


def _fields(view: View) -> dict[str, Any]:
    """Fields that people fill in; set once a comparison or a vote, never while they may be typing."""
    turn = view.current
    titles = [(view.title(side), LETTERS[side]) for side in range(len(view.contenders))]
    own = ("Each its own answer", EACH_ITS_OWN)
    best, worst = (LETTERS[p] if p is not None else None for p in (turn.best, turn.worst))
    return {
        "best": gr.update(choices=titles, value=best, interactive=turn.votable),
        "worst": gr.update(choices=titles, value=worst, interactive=turn.votable),
        "reason": turn.label.reason if turn.label else "",
        "continues": gr.update(choices=[*titles, own], value=best or "A", visible=len(titles) > 1),
    }


def _recent(conversation_id: int, user: str) -> dict[str, Any]:
    return {
        "no_worker": gr.update(visible=not compare_state.worker_present()),
        "recent": compare_html.recent_list(compare_state.recent_conversations(user), conversation_id),
    }
