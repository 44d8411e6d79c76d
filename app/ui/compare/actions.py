"""The actions of the compare page; each returns the page updates it causes."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gradio as gr

from app import answers
from app.errors import AppError, NotFound
from app.i18n import N_, _, in_language
from app.store.conversations import Decoding
from app.store.enums import Choice
from app.store.judging import LETTERS
from app.store.models import Label
from app.ui import query, widgets
from app.ui.compare import state as compare_state
from app.ui.compare.show import EACH_ITS_OWN, Seen, ids, recent, show
from app.ui.compare.state import Turn, View
from app.ui.updates import Updates

T = TypeVar("T")

_ASK = N_("The conversation changed in another tab; look again, then ask.")
_VOTE = N_("The conversation changed in another tab; look again, then vote.")
_SAY_WHY = N_("The conversation changed in another tab; look again, then say why.")
_WITHDRAW = N_("The conversation changed in another tab; look again, then withdraw.")
_SHOW = N_("The conversation changed in another tab; look again, then show the names.")
_STOP = N_("The conversation changed in another tab; look again, then stop.")
_REGENERATE = N_("The conversation changed in another tab; look again, then regenerate.")


def showing_errors(act: Callable[[], T]) -> T:
    """Call a function and raise an `AppError` as a message on the page."""
    try:
        return act()
    except AppError as error:
        raise gr.Error(in_language(str(error)), duration=8, print_exception=False) from error


def _overtaken(view: View, seen: Seen, user: str, *, said: str) -> Updates | None:
    """Updates to the current view if this page is stale, else None.

    Another tab may have asked a question or regenerated an answer. A click must not act on content that
    this page never showed.

    Args:
        said: what to tell the reader then.
    """
    if seen.get("comparison") == view.current.comparison.id and seen.get("answers") == ids(view):
        return None
    gr.Warning(_(said), duration=8)
    return {**show(view, {}), **recent(view.conversation.id, user)}


# --- events ----------------------------------------------------------------------------------


def open_page(request: gr.Request | None = None) -> Updates:
    """Open the page; `?conversation=5` continues that conversation."""
    wanted = query.value(request, "conversation")
    user = query.username(request)
    start = {"setup": gr.update(visible=True), **recent(0, user)}
    ids = query.ids(request, "conversation")
    if not wanted:
        return start
    try:
        if not ids:
            raise NotFound(_("There is no such conversation; start a new one below."))
        view = compare_state.read_view(ids[0], user)
    except NotFound as error:
        sorry = widgets.notice(in_language(str(error)), "warning")
        return {"summary": gr.update(value=sorry, visible=True), **start}
    return {**show(view, {}), **recent(view.conversation.id, user)}


def show_question(conversation_id: float) -> tuple[Any, Any]:
    """Show the question box, and example prompts while there is no conversation."""
    return gr.update(visible=True), gr.update(visible=not conversation_id)


def refresh(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Updates since the last tick of the timer."""
    if not conversation_id:
        return {"timer": gr.Timer(active=False)}
    view = compare_state.read_view(int(conversation_id), query.username(request))
    return show(view, seen)


def watch(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Updates that the same user caused in another tab; polled less often than `refresh`."""
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
    """Ask a question; the first one starts a conversation."""
    user = query.username(request)
    if conversation_id:
        here = compare_state.read_view(int(conversation_id), user)
        overtaken = _overtaken(here, seen, user, said=_ASK)
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

    view = compare_state.read_view(showing_errors(act), user)
    return {**show(view, {}), **recent(view.conversation.id, user), "ask_box": ""}


def vote(
    choice: str, conversation_id: float, seen: Seen, worst: str, reason: str, request: gr.Request | None
) -> Updates:
    """Cast or change the vote on the last question. A reason given for a different choice is dropped."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, said=_VOTE)
    if overtaken is not None:
        return overtaken
    turn = view.current
    ready_at = seen.get("ready_at")
    seconds = None if ready_at is None else round(time.time() - ready_at, 1)
    anew = has_old_reason(turn.label, reason, changed=(choice, worst) != _cast(turn))
    showing_errors(
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
        gr.Info(_("The vote is changed. Its reason was for the earlier vote; give a new one."), duration=8)
    return _voted(int(conversation_id), user)


def has_old_reason(label: Label | None, reason: str | None, *, changed: bool) -> bool:
    """Whether a changed vote still carries the reason for the earlier vote."""
    return label is not None and changed and bool(label.reason) and (reason or "").strip() == label.reason


def _cast(turn: Turn) -> tuple[str, str]:
    """The current vote in the form of a click: choice and worst."""
    if turn.label is None:
        return "", ""
    words = {Choice.TIE: "tie", Choice.ALL_BAD: "both bad"}
    best, worst = (LETTERS[side] if side is not None else "" for side in (turn.best, turn.worst))
    return words.get(turn.label.choice, best), worst if len(turn.answers) > 2 else ""


def save_reason(
    conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None
) -> Updates:
    """Save the reason for a vote; a no-op before the vote is cast."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    label = next((turn.label for turn in view.turns if turn.comparison.id == seen.get("comparison")), None)
    if label is None or label.reason == (reason or "").strip():
        return {}
    overtaken = _overtaken(view, seen, user, said=_SAY_WHY)
    if overtaken is not None:
        return overtaken
    showing_errors(lambda: answers.explain(label.id, reason or "", user=user))
    gr.Info(_("The reason is saved with your vote."), duration=3)
    return _voted(int(conversation_id), user)


def withdraw(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Withdraw the vote on the last question."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, said=_WITHDRAW)
    if overtaken is not None:
        return overtaken
    label = view.current.label
    if label is not None:
        showing_errors(lambda: answers.withdraw(label.id, user=user))
    return _voted(int(conversation_id), user)


def show_names(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Reveal the names before a vote; a later vote does not count as blind."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, said=_SHOW)
    if overtaken is not None:
        return overtaken
    showing_errors(lambda: answers.show_names(view.current.comparison.id, user=user))
    return _voted(int(conversation_id), user)


def stop(side: int | None, conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Stop the answer of one side, or all answers."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, said=_STOP)
    if overtaken is not None:
        return overtaken
    showing_errors(lambda: answers.stop(view.current.comparison.id, side))
    return refresh(conversation_id, seen, request)


def regenerate(side: int, conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Updates:
    """Regenerate one answer with the next seed."""
    user = query.username(request)
    view = compare_state.read_view(int(conversation_id), user)
    overtaken = _overtaken(view, seen, user, said=_REGENERATE)
    if overtaken is not None:
        return overtaken
    showing_errors(lambda: answers.regenerate(view.current.comparison.id, side))
    return show(compare_state.read_view(int(conversation_id), user), {})


def _voted(conversation_id: int, user: str) -> Updates:
    view = compare_state.read_view(conversation_id, user)
    return {**show(view, {}), **recent(conversation_id, user)}
