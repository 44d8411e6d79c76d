"""One probe prompt of a run through training: the answer at an evaluation, with its differences marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from sqlalchemy.orm import Session

from app import generations as service
from app.errors import NotFound
from app.i18n import _, _n
from app.store import generations
from app.store.db import read_session
from app.store.models import Generation
from app.templates import render
from app.text import read_id
from app.ui import differences, query, widgets
from app.ui.compare.actions import showing_errors
from app.ui.generations.opening import opening
from app.ui.run import samples
from app.ui.run.address import run_id
from app.ui.run.layout import PREVIOUS, START
from app.ui.updates import Updates
from app.ui.widgets import Html

ADDRESS = """(prompt, against, place) => hySetQuery({
  prompt: prompt ? String(prompt) : '',
  against: against === 'start' ? 'start' : '',
  at: prompt ? String(place) : '',
})"""
"""Keeps the prompt and the place in the address, as in `run?id=3&prompt=12&at=4`."""


@dataclass(frozen=True, slots=True)
class View:
    """The answers of a run to one prompt, by step, and the one that is shown."""

    answers: Sequence[Generation]
    at: int
    against: str

    @property
    def present(self) -> Generation:
        return self.answers[self.at]

    @property
    def earlier(self) -> Generation | None:
        """The answer with which the present one is compared; None at the first evaluation."""
        if self.at == 0:
            return None
        return self.answers[0 if self.against == START else self.at - 1]


# --- handlers --------------------------------------------------------------------------------


def open_page(request: gr.Request | None = None) -> Updates:
    """Show the prompt and the place of the address, and open their tab if it names a prompt."""
    wanted = query.value(request, "prompt")
    against = START if query.value(request, "against") == START else PREVIOUS
    shown = _shown(request, read_id(wanted), against, read_id(query.value(request, "at")))
    return {**shown, **({"tabs": gr.Tabs(selected="samples")} if wanted else {})}


def renew(
    prompt: int | None, against: str, place: float | None, request: gr.Request | None = None
) -> Updates:
    """Show the evaluations so far; whoever looks at the last one gets the new last one."""
    return _shown(request, prompt, against, None if place is None else int(place))


def move(prompt: int | None, against: str, place: float | None, request: gr.Request | None = None) -> Updates:
    """Show another prompt, evaluation or difference."""
    view = _read(request, prompt, against, place)
    return {} if view is None else {**_answer(view), "place": _slider(view)}


def compare(prompt: int | None, against: str, place: float | None, request: gr.Request | None = None) -> Html:
    """Make a comparison of the two answers whose differences are shown."""
    view = _read(request, prompt, against, place)
    if view is None or view.earlier is None:
        return widgets.notice(
            _("Move the slider to a later evaluation; this one has nothing before it."), "warning"
        )
    ids = [view.earlier.id, view.present.id]
    made = showing_errors(lambda: service.compare(ids, user=query.username(request)))
    return opening(made.conversation_id)


# --- what they show --------------------------------------------------------------------------


def _shown(request: gr.Request | None, prompt: int | None, against: str, place: int | None) -> Updates:
    with read_session() as session:
        try:
            prompts = generations.probe_prompts(run_id(request), session=session)
        except NotFound:
            prompts = []
        names = [(f"{n}. {widgets.prompt_line(one.content, 70)}", one.id) for n, one in enumerate(prompts, 1)]
        known = {key for _name, key in names}
        chosen = prompt if prompt in known else next(iter(key for _name, key in names), None)
        view = None if chosen is None else _view(run_id(request), chosen, against, place, session)
    if view is None:
        return {"section": gr.update(visible=False)}
    return {
        "section": gr.update(visible=True),
        "prompt": gr.update(choices=names, value=chosen),
        "against": view.against,
        "place": _slider(view),
        **_answer(view),
    }


def _read(request: gr.Request | None, prompt: int | None, against: str, place: float | None) -> View | None:
    number = run_id(request)
    if prompt is None:
        return None
    with read_session() as session:
        return _view(number, int(prompt), against, None if place is None else int(place), session)


def _view(run: int, prompt: int, against: str, place: int | None, session: Session) -> View | None:
    """The view at a place, counted from 1; at the last one if the place is not known."""
    answers = generations.probe_answers(run, prompt, session=session)
    if not answers:
        return None
    at = len(answers) - 1 if place is None else min(max(place - 1, 0), len(answers) - 1)
    return View(answers, at, START if against == START else PREVIOUS)


def _slider(view: View) -> Any:
    count = len(view.answers)
    return gr.update(
        minimum=1,
        maximum=max(2, count),
        value=view.at + 1,
        visible=count > 1,
        label=_("Evaluation, 1 to {n}", n=count),
    )


def _answer(view: View) -> Updates:
    return {"changed": changed(view), "compare": gr.update(visible=view.earlier is not None)}


def changed(view: View) -> Html:
    """The present answer with its differences to the earlier one marked."""
    row, earlier = view.present, view.earlier
    head = [
        samples.step_name(row.step or 0),
        _("{n} of {total}", n=view.at + 1, total=len(view.answers)),
    ]
    text = None if earlier is None else differences.marked(earlier.text, row.text)
    if earlier is not None:
        head.append(_difference(differences.count(earlier.text, row.text), earlier.step or 0))
    return render(
        "run/changed.html",
        prompt=widgets.messages(row.prompt.content),
        head=" · ".join(head),
        text=widgets.escape(row.text) if text is None else text,
        note=samples.facts(row),
        link=widgets.link(_("every answer to this prompt"), "generations", prompt=f"#{row.prompt_id}"),
    )


def _difference(count: int | None, step: int) -> str:
    """How much an answer differs from the one at an earlier step."""
    if count is None:
        return _("too long to mark the differences")
    then = f"{step:,}"
    if not count:
        return (
            _("the same words as step {step}", step=then) if step else _("the same words as before training")
        )
    if not step:
        return _n("{n} word changed since before training", "{n} words changed since before training", count)
    return _n("{n} word changed since step {step}", "{n} words changed since step {step}", count, step=then)
