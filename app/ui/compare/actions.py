"""What happens on the compare page: a function does one thing and says what the page shows then."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from app import answers
from app.errors import AppError, NotFound
from app.store.conversations import Decoding
from app.store.enums import Choice
from app.store.judging import LETTERS
from app.store.models import Label
from app.ui import query, widgets
from app.ui.compare import state as compare_state
from app.ui.compare.show import EACH_ITS_OWN, Seen, ids, recent, show
from app.ui.compare.state import Turn, View
from app.ui.updates import Updates


def saying_why(act: Callable[[], Any]) -> Any:
    """Do something; an error meant for people becomes a message on the page."""
    try:
        return act()
    except AppError as error:
        raise gr.Error(str(error), duration=8, print_exception=False) from error


def _overtaken(view: View, seen: Seen, user: str, *, then: str) -> Updates | None:
    """The view as it is now, where this page has not shown its last question or one of its answers yet.

    Another tab may have asked on or regenerated: what is clicked here must not reach what was never seen.
    """
    if seen.get("comparison") == view.current.comparison.id and seen.get("answers") == ids(view):
        return None
    gr.Warning(f"The conversation went on in another tab; look again, then {then}.", duration=8)
    return {**show(view, {}), **recent(view.conversation.id, user)}


# --- events ----------------------------------------------------------------------------------


def open_page(request: gr.Request | None = None) -> Updates:
    """The page of an address: `?conversation=5` goes on where that one is."""
    wanted = query.value(request, "conversation")
    user = query.username(request)
    start = {"setup": gr.update(visible=True), **recent(0, user)}
    ids = query.ids(request, "conversation")
    if not wanted:
        return start
    try:
        if not ids:
            raise NotFound("There is no such conversation; start a new one below.")
        view = compare_state.read_view(ids[0], user)
    except NotFound as error:
        sorry = widgets.notice(str(error), "warning")
        return {"summary": gr.update(value=sorry, visible=True), **start}
    return {**show(view, {}), **recent(view.conversation.id, user)}


def show_question(conversation_id: float) -> tuple[Any, Any]:
    """The question's place, and the prompts to begin with where there is no conversation yet."""
    return gr.update(visible=True), gr.update(visible=not conversation_id)


def refresh(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """The timer: what grew since the last look."""
    if not conversation_id:
        return {"timer": gr.Timer(active=False)}
    view = compare_state.read_view(int(conversation_id), query.username(request))
    return show(view, seen)


def watch(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """The slow look of an open page: whether the same person did something in another tab."""
    user = query.username(request)
    if not conversation_id or compare_state.stamp(int(conversation_id), user) == seen.get("stamp"):
        return {}
    view = compare_state.read_view(int(conversation_id), user)
    looked: Seen = {**seen, "stamp": view.stamp}
    return {"seen": looked, **show(view, seen)}


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
    opening: Sequence[Mapping[str, str]] | None = None,
    request: gr.Request | None = None,
) -> Updates:
    """Put a question: a first one starts a conversation. The question box is emptied."""
    user = query.username(request)
    if conversation_id:
        here = compare_state.read_view(int(conversation_id), user)
        overtaken = _overtaken(here, seen, user, then="ask")
        if overtaken is not None:
            return overtaken

    def act() -> int:
        if conversation_id:
            origin = continues[:1] if continues and continues != EACH_ITS_OWN else None
            return answers.follow_up(int(conversation_id), question, continues_from=origin).conversation_id
        return answers.begin(
            [compare_state.to_choice(key) for key in keys],
            question,
            user=user,
            blind=blind,
            seed=int(seed or 0),
            decoding=Decoding(int(max_new_tokens or 0), float(temperature or 0), float(top_p or 0)),
            opening=opening or (),
        ).conversation_id

    view = compare_state.read_view(saying_why(act), user)
    return {**show(view, {}), **recent(view.conversation.id, user), "ask_box": ""}


def vote(
    choice: str, conversation_id: float, seen: Seen, worst: str, reason: str, request: gr.Request | None
) -> Updates:
    """Vote on the last question, or change the vote. The reason of another choice is not taken over."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="vote")
    if overtaken is not None:
        return overtaken
    turn = view.current
    ready_at = seen.get("ready_at")
    seconds = None if ready_at is None else round(time.time() - ready_at, 1)
    anew = asks_anew(turn.label, reason, changed=(choice, worst) != _cast(turn))
    saying_why(
        lambda: answers.vote(
            turn.comparison.id,
            choice,
            user=user,
            worst=worst,
            reason="" if anew else reason or "",
            seconds=seconds,
        )
    )
    if anew:
        gr.Info("The vote is changed. Its reason belonged to the vote before; say why anew.", duration=8)
    return _voted(int(conversation_id), user)


def asks_anew(label: Label | None, reason: str | None, *, changed: bool) -> bool:
    """Whether a changed vote comes with the reason of the vote before."""
    return label is not None and changed and bool(label.reason) and (reason or "").strip() == label.reason


def _cast(turn: Turn) -> tuple[str, str]:
    """The present vote in the words of a click: choice and worst."""
    if turn.label is None:
        return "", ""
    words = {Choice.TIE: "tie", Choice.ALL_BAD: "both bad"}
    best, worst = (LETTERS[side] if side is not None else "" for side in (turn.best, turn.worst))
    return words.get(turn.label.choice, best), worst if len(turn.answers) > 2 else ""


def save_reason(
    conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None
) -> Updates:
    """Keep the reason of a vote that was cast; before the vote it waits for it."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    label = next((turn.label for turn in view.turns if turn.comparison.id == seen.get("comparison")), None)
    if label is None or label.reason == (reason or "").strip():
        return {}
    overtaken = _overtaken(view, seen, user, then="say why")
    if overtaken is not None:
        return overtaken
    saying_why(lambda: answers.explain(label.id, reason or "", user=user))
    gr.Info("The reason is kept with your vote.", duration=3)
    return _voted(int(conversation_id), user)


def withdraw(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Take the vote on the last question back."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="withdraw")
    if overtaken is not None:
        return overtaken
    label = view.current.label
    if label is not None:
        saying_why(lambda: answers.withdraw(label.id, user=user))
    return _voted(int(conversation_id), user)


def show_names(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Show who answered before a vote; a vote after that is not blind."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="show the names")
    if overtaken is not None:
        return overtaken
    saying_why(lambda: answers.show_names(view.current.comparison.id, user=user))
    return _voted(int(conversation_id), user)


def stop(side: int | None, conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Stop the answer of a side, or of all."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="stop")
    if overtaken is not None:
        return overtaken
    saying_why(lambda: answers.stop(view.current.comparison.id, side))
    return refresh(conversation_id, seen, request)


def regenerate(side: int, conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Ask one side again, with the next seed."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, then="regenerate")
    if overtaken is not None:
        return overtaken
    saying_why(lambda: answers.regenerate(view.current.comparison.id, side))
    return show(compare_state.read_view(int(conversation_id), user), {})


def _voted(conversation_id: int, user: str) -> Updates:
    view = compare_state.read_view(conversation_id, user)
    return {**show(view, {}), **recent(conversation_id, user)}
