"""A run's samples as HTML: probe answers side by side, and online samples."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.i18n import _
from app.settings import get_settings
from app.store import generations
from app.store.enums import GenerationKind
from app.store.models import Generation, Run
from app.store.prompts import canonical
from app.store.retention import sample_stride
from app.templates import render
from app.ui import formatting, parting, widgets
from app.ui.answer.address import answer_link
from app.ui.widgets import Html

PAGE = 20
LATEST = -1


def probe_steps(runs: Sequence[Run], *, session: Session) -> list[int]:
    """The steps at which any of the runs answered the probe prompts."""
    steps = {
        step
        for run in runs
        for step in generations.steps_of_run(run.id, session=session, kind=GenerationKind.PROBE)
    }
    return sorted(steps)


def probes(runs: Sequence[Run], before: int, after: int, *, session: Session) -> Html:
    """Answers to the probe prompts: one run's at an earlier step, every run's at a later step.

    Args:
        runs: the run and its twin, if any; the earlier answers are the first run's.
        after: a step, or LATEST for each run's last step.
    """
    first, columns = _columns(runs, before, after, session)
    if not first and not any(answers for _run, _step, answers in columns):
        return widgets.empty_state(
            _("No probe answers yet"),
            _("At every evaluation the run answers a few fixed held-out prompts; they appear here."),
        )
    earlier = any(step != before for _run, step, _answers in columns)
    blocks = []
    for key, prompt in _prompts([first, *(answers for _run, _step, answers in columns)]).items():
        heads, rows = list[Html](), list[Generation | None]()
        if earlier:
            heads.append(Markup("<b>{}</b>").format(step_name(before)))
            rows.append(first.get(key))
        for run, step, answers in columns:
            heads.append(
                Markup("{} <span>{}</span>").format(
                    widgets.method_badge(run.method, run=run.id), _("step {n}", n=step)
                )
            )
            rows.append(answers.get(key))
        cells = list(zip(heads, _cells(rows), strict=True))
        blocks.append(render("run/probe.html", prompt=widgets.messages(prompt), cells=cells))
    toggle = Markup('<div class="hy-actions">{}</div>').format(parting.toggle())
    return widgets.join([toggle, *blocks] if earlier or len(columns) > 1 else blocks)


Answers = dict[str, Generation]


def _columns(
    runs: Sequence[Run], before: int, after: int, session: Session
) -> tuple[Answers, list[tuple[Run, int, Answers]]]:
    first = _answers(runs[0].id, before, session)
    columns = []
    for run in runs:
        steps = generations.steps_of_run(run.id, session=session, kind=GenerationKind.PROBE)
        step = (steps[-1] if steps else 0) if after == LATEST else after
        answers = _answers(run.id, step, session)
        if answers:
            columns.append((run, step, answers))
    return first, columns


def _answers(run_id: int, step: int, session: Session) -> Answers:
    rows = generations.of_run(run_id, session=session, kind=GenerationKind.PROBE, step=step, limit=100)
    return {canonical(row.prompt.content): row for row in rows}


def _prompts(columns: Sequence[Answers]) -> dict[str, Any]:
    return {key: row.prompt.content for answers in columns for key, row in answers.items()}


def step_name(step: int) -> str:
    """A step, or the time before the first one, at the beginning of a line."""
    return _("Step {n}", n=f"{step:,}") if step else _("Before training")


def _cells(rows: Sequence[Generation | None]) -> list[Html]:
    """Answers to one prompt, with the place where they part."""
    shared = parting.shared_beginning([row.text for row in rows if row is not None and row.text])
    return [widgets.NOTHING if row is None else _answer(row, shared) for row in rows]


def _answer(row: Generation, shared: int | None) -> Html:
    note = widgets.join([facts(row), answer_link(row.id)], glue=" · ")
    return widgets.answer(parting.marked(row.text, shared) if row.text else "", note=note)


def facts(row: Generation) -> str:
    """Length and log-ratio of a sampled text, on one line."""
    words = [formatting.count(row.tokens, "token")]
    if not row.complete:
        words.append(_("cut at the limit"))
    if row.policy_logp is not None and row.reference_logp is not None:
        ratio = f"{row.policy_logp - row.reference_logp:+.1f}"
        words.append(_("log-ratio {ratio} nats", ratio=ratio))
    return " · ".join(words)


def online(run_id: int, page: int, *, session: Session) -> tuple[Html, int]:
    """A page of the responses sampled for the KL penalty, latest first, and the number of pages."""
    total = generations.count_of_run(run_id, session=session, kind=GenerationKind.ONLINE)
    pages = max(1, -(-total // PAGE))
    page = min(max(page, 1), pages)
    rows = generations.newest_of_run(
        run_id, session=session, kind=GenerationKind.ONLINE, limit=PAGE, offset=(page - 1) * PAGE
    )
    if not rows:
        return widgets.empty_state(
            _("No online samples"),
            _("Methods that sample, such as HyPO, keep the responses; the others sample none."),
        ), 1
    words = (
        _("Page {n} of {total}, the latest first.", n=page, total=pages),
        kept_samples(run_id, session=session),
        _("Log-ratio: log π − log π_ref in nats; the KL is its mean over responses."),
    )
    where = Markup('<p class="hy-note">{}</p>').format(" ".join(words))
    rows_table = widgets.table(
        [_("Step"), _("Prompt and response"), _("Tokens"), "log π", "log π_ref", _("Log-ratio"), ""],
        [
            (
                row.step,
                _exchange(row),
                row.tokens,
                formatting.number(row.policy_logp, 1),
                formatting.number(row.reference_logp, 1),
                _difference(row),
                answer_link(row.id),
            )
            for row in rows
        ],
        caption=_("Online samples, page {n} of {total}", n=page, total=pages),
        numeric=(0, 2, 3, 4, 5),
    )
    return widgets.join([where, rows_table]), pages


def kept_samples(run_id: int, *, session: Session) -> str:
    """A sentence that states which steps' samples are kept."""
    kept = get_settings().online_sample_steps
    newest = generations.newest_of_run(run_id, session=session, kind=GenerationKind.ONLINE, limit=1)
    stride = sample_stride((newest[0].step or 0) if newest else 0, kept)
    if stride == 1:
        if not kept:
            return _("All samples are kept.")
        return _("All samples are kept up to {n} steps.", n=f"{kept:,}")
    return _(
        "Samples of the last {n} steps are kept, and of every {stride}th step before them.",
        n=f"{kept // 2:,}",
        stride=f"{stride:,}",
    )


def _exchange(row: Generation) -> Html:
    return render(
        "run/exchange.html",
        line=widgets.prompt_line(row.prompt.content),
        prompt=widgets.messages(row.prompt.content),
        response=widgets.escape(row.text),
    )


def _difference(row: Generation) -> str:
    if row.policy_logp is None or row.reference_logp is None:
        return "–"
    return f"{row.policy_logp - row.reference_logp:+.1f}"
