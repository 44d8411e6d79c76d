"""Score a text: `score`, filled in by `?answer=N` or `?conversation=N`; `score?id=N` shows a scored text.

The scores are drawn by the script of `app/ui/answer`, which reads them through the REST API.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from app import answer_tokens, scored_texts
from app.errors import AppError, InvalidInput, NotFound
from app.i18n import _
from app.store import comparisons, prompts, scorings
from app.store.contenders import ENDPOINT
from app.store.db import read_session
from app.store.models import Contender, ScoredText
from app.ui import events, formatting, query, widgets
from app.ui.compare import state as compare_state
from app.ui.score.layout import lay_out
from app.ui.updates import Updates, connect, named
from app.ui.widgets import Html

RECENT = 12
FIELDS = ("contenders", "before", "opening", "question", "text", "message", "recent")


def build() -> None:
    """Lay out the page, then wire its events."""
    form = lay_out()
    outputs = {name: part for name, part in named(form).items() if name in FIELDS}
    connect(events.on_load, offer, None, outputs)
    given = [form.contenders, form.before, form.question, form.text]
    form.score.click(
        score, given, form.message, show_progress_on=form.score, api_visibility="private", trigger_mode="once"
    )


def offer(request: gr.Request | None = None) -> Updates:
    """The available contenders, and the form filled in from what the address names."""
    user = query.username(request)
    offered = [
        (name, key) for name, key in compare_state.offered_contenders() if not key.startswith(ENDPOINT)
    ]
    message, filled = widgets.NOTHING, dict[str, Any]()
    try:
        filled = _filled(request, user, offered)
    except AppError as error:
        message = widgets.notice(str(error), "warning")
    keys = filled.pop("keys", None) or compare_state.preselected([], offered)
    return {
        "contenders": gr.update(choices=offered, value=keys),
        "message": message,
        "recent": _recent(user),
        **filled,
    }


def _filled(request: gr.Request | None, user: str, offered: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Prompt, text and contenders of a scored text, of an answer, or of a conversation's last question.

    Raises:
        NotFound: what the address names is not there.
    """
    if any(query.wrong_id(request, name) for name in ("id", "answer", "conversation")):
        raise NotFound(_("There is nothing with the id in the address; write a prompt and a text below."))
    if ids := query.ids(request, "id"):
        scored = scored_texts.look(ids[0], user=user).text
        rows = [_contender(row) for row in scored.contenders]
        return {**_asked(scored.prompt.content), "text": scored.text, "keys": _keys(rows, offered)}
    if ids := query.ids(request, "answer"):
        opened = answer_tokens.look(ids[0], user=user)
        asked = _asked(opened.generation.prompt.content)
        if opened.comparison is not None:
            keys = _keys(opened.comparison.conversation.contenders, offered)
        else:
            keys = [key for _, key in offered if key == f"run:{opened.author.run_id}"]
        return {**asked, "text": opened.generation.text, "keys": keys}
    if ids := query.ids(request, "conversation"):
        keys, conversation = compare_state.setup_like(ids[0], user, offered)
        with read_session() as session:
            turns = comparisons.turns(conversation.id, session=session)
            last = turns[-1] if turns else None
            position = last.shown_order[0] if last is not None else 0
            content = None if last is None else comparisons.history(last, position, session=session)
        return {**(_asked(content) if content else {}), "keys": keys}
    return {}


def _asked(content: Any) -> dict[str, Any]:
    """A prompt as the form shows it.

    Raises:
        InvalidInput: for a prompt that does not end in a question.
    """
    parts = prompts.split_off_question(content)
    if parts is None:
        raise InvalidInput(_("This prompt does not end in a question; write one below."), field="question")
    opening, question = parts
    as_text = isinstance(content, str)
    plain = _("The prompt is plain text that the models continue.")
    note = Markup('<p class="hy-note">{}</p>').format(plain)
    shown = widgets.messages(opening) if opening else note
    return {
        "before": {"opening": opening, "as_text": as_text},
        "opening": gr.update(value=shown, visible=bool(opening) or as_text),
        "question": question,
    }


def _contender(row: Mapping[str, Any]) -> Contender:
    known = ("name", "method", "base_model", "run_id", "checkpoint_id")
    return Contender(**{name: row[name] for name in known})


def _keys(contenders: Sequence[Contender], offered: Sequence[tuple[str, str]]) -> list[str]:
    """Keys of the contenders that are still offered."""
    known = {key for _, key in offered}
    found = [next((key for key in compare_state.keys_of(one) if key in known), "") for one in contenders]
    return sorted(filter(None, found))


def score(
    keys: Sequence[str],
    before: Mapping[str, Any],
    question: str,
    text: str,
    request: gr.Request | None = None,
) -> Html:
    """Queue the scoring and go to its address; or say what is wrong with a field."""
    try:
        number = scored_texts.score(
            [compare_state.to_choice(key) for key in keys or ()],
            question,
            text,
            user=query.username(request),
            opening=before["opening"],
            as_text=before["as_text"],
        )
    except AppError as error:
        return widgets.field_error(str(error))
    return Markup('<p class="hy-note" data-next="{}">{}</p>').format(
        widgets.url("score", id=number), _("The text is queued.")
    )


def _recent(user: str) -> Html:
    """Links to the texts that this person scored last."""
    with read_session() as session:
        found = scorings.recent_texts(user, session=session, limit=RECENT)
    if not found:
        return widgets.NOTHING
    rows = [_line(text) for text in found]
    title = _("Your scored texts")
    table = widgets.table([_("Text"), _("Contenders"), _("Scored")], rows, caption=title)
    return widgets.section(title, table)


def _line(scored: ScoredText) -> tuple[object, ...]:
    return (
        widgets.link(widgets.written(scored.text, 80), "score", id=scored.id),
        " / ".join(contender["name"] for contender in scored.contenders),
        formatting.ago(scored.created_at),
    )
