"""HTML pieces of the run page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy.orm import Session

from app import presence
from app.held_out_share import nothing_held_out
from app.i18n import N_, _, _html, _n, in_language
from app.markdown import to_html
from app.run_yaml import DEFAULTS
from app.store import run_checkpoints, run_dependencies, runs, workers
from app.store.enums import RunStatus, RunWish
from app.store.models import Run, RunEvent
from app.store.retention import DiskUse
from app.templates import render
from app.ui import formatting, widgets
from app.ui.run.findings import Finding
from app.ui.widgets import Html
from hypo_engine import measures
from hypo_engine.config import Method, TrainConfig, applies
from hypo_engine.measures import HEADLINES, SCORE
from hypo_engine.model_spec import is_run_model, parse_run_model


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions that a run's status allows."""

    cancel: bool
    resume: bool
    export: bool
    delete: bool


def actions(run: Run, *, session: Session) -> Actions:
    waiting = not run.status.is_over and run.wish is RunWish.NONE
    return Actions(
        cancel=waiting,
        resume=run.status in (RunStatus.FAILED, RunStatus.CANCELLED),
        export=run_checkpoints.last(run.id, session=session) is not None,
        delete=run.status.is_over,
    )


def header(run: Run, twins: Sequence[Run], tags: Sequence[str] = ()) -> Html:
    """The page header: name, badges, tags, links and notes."""
    badges = [widgets.run_badge(run), widgets.status_badge(run.status, _state_word(run))]
    others = [
        {
            "url": widgets.url("run", id=twin.id),
            "method": widgets.run_badge(twin),
            "status": widgets.status_badge(twin.status),
        }
        for twin in twins
        if twin.id != run.id
    ]
    compare = ",".join(str(twin.id) for twin in twins)
    buttons = [
        widgets.link_button(_("Clone"), "launch", clone=run.id),
        widgets.link_button(_("Overlay"), "runs", compare=compare),
        widgets.link_button(_("Lineage"), "lineage", run=run.id),
    ]
    if run.status is RunStatus.FINISHED and Method(run.method).writes:
        buttons.insert(1, widgets.link_button(_("Train further"), "launch", start=f"run:{run.id}"))
    writers = [twin for twin in twins if Method(twin.method).writes]
    compare = ",".join(str(twin.id) for twin in writers)
    if any(twin.status is RunStatus.FINISHED for twin in writers):
        buttons.append(widgets.link_button(_("Judge many prompts"), "campaigns", runs=compare))
        buttons.append(widgets.link_button(_("Compare answers"), "compare", primary=True, runs=compare))
    if run.archived_at:
        badges.append(widgets.status_badge("archived"))
    if tags:
        badges.append(widgets.tag_chips(tags))
    lead = render("run/badges.html", id=run.id, badges=badges, twins=others)
    top = widgets.page_header(run.name, lead, *buttons, tab=_("Run {id}", id=run.id))
    if not run.notes:
        return top
    return widgets.join([top, Markup('<div class="hy-notes">{}</div>').format(to_html(run.notes))])


def _state_word(run: Run) -> str:
    if run.status is RunStatus.RUNNING and run.wish is RunWish.CANCEL:
        return N_("stopping")
    return run.status.value


def status(run: Run, *, session: Session) -> Html:
    """The run's status: its place in the queue, its progress, its results or its error."""
    if run.status is RunStatus.QUEUED:
        return _queued(run, session)
    if run.status is RunStatus.FAILED:
        return widgets.join(
            [
                widgets.error_banner(run.error or _("The run failed without a message."), run.traceback),
                _bar(run),
            ]
        )
    if run.status is RunStatus.RUNNING and run.wish is RunWish.CANCEL:
        stopping = widgets.notice(
            _("Cancel requested; the run stops after its current step, or its process is killed."), "warning"
        )
        return widgets.join([stopping, _bar(run)])
    if run.status is RunStatus.FINISHED:
        return _reached(run, session)
    return _bar(run)


def _reached(run: Run, session: Session) -> Html:
    """The held-out results of a finished run."""
    last = runs.final_metrics(run.id, session=session)
    shown = [measure for measure in (*HEADLINES, SCORE) if measure.metric in last] or HEADLINES
    reached = widgets.facts(
        [
            *((_(measure.label), measure.text(last)) for measure in shown),
            (_("Trained for"), _trained_for(run, last)),
        ]
    )
    return Markup('<div class="hy-results">{}</div>').format(reached)


def nothing_measured(run: Run, *, session: Session) -> Html:
    """A warning if the dataset has no held-out data to evaluate on."""
    wanted = any(run.config.get(name) for name in ("eval_pairs", "eval_prompts", "probe_prompts"))
    sentence = nothing_held_out(run.dataset, session=session) if wanted else None
    return widgets.notice(sentence, "warning") if sentence else widgets.NOTHING


def pairs_left_out(run: Run, *, session: Session) -> Html:
    """A warning about training pairs that were skipped, with the reason."""
    sentence = measures.pairs_left_out(runs.final_metrics(run.id, session=session))
    return widgets.notice(sentence, "warning") if sentence else widgets.NOTHING


def _trained_for(run: Run, last: Mapping[str, float]) -> str:
    """The number of steps, and of epochs over the pairs within the length limits."""
    steps, pairs, epochs = formatting.count(run.step, "step"), last.get("num_train_pairs"), last.get("epoch")
    if pairs is None or epochs is None:
        return steps
    of = formatting.count(int(pairs), "pair")
    if epochs < 1:
        return _("{steps}, {share} of {pairs}", steps=steps, share=f"{epochs:.0%}", pairs=of)
    if epochs == 1:
        return _("{steps}, {n} epoch of {pairs}", steps=steps, n=1, pairs=of)
    return _("{steps}, {n} epochs of {pairs}", steps=steps, n=f"{epochs:.3g}", pairs=of)


def _queued(run: Run, session: Session) -> Html:
    if awaited := run_dependencies.awaited([run], session=session).get(run.id):
        return _waiting_for(awaited)
    place = runs.place_in_queue(run, session=session)
    said = [_html("Place <b>{n}</b> in the queue.", n=place)]
    if first := _twin_before(run, session):
        link = widgets.link(named(first), "run", id=first.id)
        said.append(_html("Its twin {run} comes first: {state}.", run=link, state=_how_far(first)))
    if run.sent_at is None:
        said.append(
            _html(
                "It waits for the broker, which has not taken its message; a worker sends it again by itself."
            )
        )
    if workers.consuming(session=session, queue="train"):
        said.append(_html("It starts by itself when a train worker is free."))
        return widgets.notice(widgets.join(said, " "))
    return widgets.notice(widgets.join([*said, no_worker(session=session)], " "), "warning")


def _waiting_for(other: Run) -> Html:
    """Which run must finish first, and how far it is."""
    link = widgets.link(named(other), "run", id=other.id)
    said = _html(
        "It waits for {run} ({state}), and starts by itself when that has finished.",
        run=link,
        state=_how_far(other),
    )
    return widgets.notice(said)


def named(run: Run) -> str:
    """A run's number and name, as a link to it says."""
    return _("run {id}, {name}", id=run.id, name=run.name)


def _how_far(other: Run) -> str:
    """The state of another run, with its steps while it trains."""
    state = _(_state_word(other))
    if other.status is not RunStatus.RUNNING or not other.total_steps:
        return state
    at = _("step {step} of {total}", step=f"{other.step:,}", total=f"{other.total_steps:,}")
    return f"{state}, {at}"


def _twin_before(run: Run, session: Session) -> Run | None:
    """The twin that trains, or that starts before this queued run."""
    twins = [twin for twin in runs.twins_of(run, session=session) if not twin.status.is_over]
    training = [twin for twin in twins if twin.status is RunStatus.RUNNING]
    return next((twin for twin in (*training, *twins) if twin.id != run.id and twin.id < run.id), None)


def no_worker(queue: str = "train", *, session: Session) -> Html:
    """What to do when no worker is consuming a queue."""
    trouble = presence.worker_trouble(queue, session=session)
    if trouble:
        return widgets.escape(in_language(trouble))
    return widgets.with_commands(in_language(presence.no_worker(queue)))


def _bar(run: Run) -> Html:
    live = run.status is RunStatus.RUNNING
    if not live and not run.total_steps:
        return widgets.NOTHING
    left = runs.seconds_left(run)
    phase = in_language(run.phase) if live else ""
    return widgets.progress_bar(run.step, run.total_steps, seconds_left=left, phase=phase, live=live)


def _stored(stored: DiskUse) -> str:
    said = formatting.count(stored.checkpoints, "checkpoint")
    if stored.size_bytes is not None:
        said = f"{said}, {_size(stored.size_bytes)}"
    if stored.resumable < stored.checkpoints:
        said = _("{checkpoints}; {n} with the optimiser's state", checkpoints=said, n=stored.resumable)
    return said


def _size(count: int) -> str:
    if count >= 1e9:
        return _("{n} GB", n=f"{count / 1e9:.1f}")
    return _("{n} MB", n=f"{count / 1e6:.1f}")


def _base_model(name: str) -> Html | str:
    """A base model's name; a link to its run if it is one's."""
    named = parse_run_model(name) if is_run_model(name) else None
    return name if named is None else widgets.link(name, "run", id=named.run)


def run_facts(run: Run, stored: DiskUse, best: int | None = None) -> Html:
    """The run's facts: dataset, model, main settings, worker, storage, the step of its best checkpoint."""
    dataset = widgets.link(f"{run.dataset.name} v{run.dataset.version}", "datasets", id=run.dataset_id)
    pairs: list[tuple[str, object]] = [
        (_("Dataset"), dataset),
        (_("Base model"), _base_model(run.base_model)),
    ]
    if run.status.is_over:
        under = widgets.link(_("under this model"), "pairs", dataset=run.dataset_id, run=run.id)
        pairs.append((_("Pairs"), under))
    pairs += [
        (_title(name), _value(run.config[name]))
        for name in _HEAD
        if run.config.get(name) not in (None, "") and applies(name, Method(run.method))
    ]
    pairs.append((_("Seed"), run.seed))
    pairs.append((_("Launched"), formatting.ago(run.created_at)))
    if run.started_at and run.finished_at:
        pairs.append((_("Took"), formatting.duration((run.finished_at - run.started_at).total_seconds())))
    if run.worker:
        pairs.append((_("Worker"), run.worker))
    if run.attempt > 1:
        pairs.append((_("Attempt"), run.attempt))
    if stored.checkpoints:
        pairs.append((_("On disk"), _stored(stored)))
    if best is not None:
        there = {"run": run.id, "kind": "eval", "steps": str(best)}
        pairs.append((_("Best checkpoint"), widgets.link(_("step {n}", n=best), "generations", **there)))
    if run.parent_id:
        pairs.append(
            (_("Cloned from"), widgets.link(_("run {id}", id=run.parent_id), "run", id=run.parent_id))
        )
    return widgets.facts(pairs)


_HEAD = ("reward", "beta", "learning_rate", "per_device_train_batch_size", "lora_r", "kl_coef")


def findings(found: Sequence[Finding]) -> Html:
    """The findings as HTML."""
    return render("run/findings.html", findings=found) if found else widgets.NOTHING


def log(events: Sequence[RunEvent]) -> Html:
    """The run's log, newest first."""
    if not events:
        return widgets.empty_state(_("The log is empty"), _("The log shows what the run does."))
    lines = [
        {"level": event.level.value, "at": event.at, "message": widgets.escape(in_language(event.message))}
        for event in reversed(events)
    ]
    return render("run/log.html", lines=lines)


def config_table(config: Mapping[str, Any]) -> Html:
    """The configuration: changed settings first, defaults collapsed."""
    names = [name for name in TrainConfig.model_fields if name in config]
    own = [name for name in names if config[name] != DEFAULTS[name]]
    rest = [name for name in names if config[name] == DEFAULTS[name]]
    changed = (
        _fields(own, config, [_("Setting"), _("Value"), _("Default")])
        if own
        else widgets.notice(_("All settings have their defaults."))
    )
    return render(
        "run/config.html",
        changed=widgets.section(_("Changed from the defaults"), changed),
        summary=_n("{n} setting at its default", "{n} settings at their default", len(rest)),
        rest=_fields(rest, config, [_("Setting"), _("Value")]),
    )


def _fields(names: Sequence[str], config: Mapping[str, Any], headers: list[str]) -> Html:
    rows = [
        [
            Markup('{} <span class="hy-note">{}</span>').format(_title(name), name)
            if _title(name) != name
            else name,
            _value(config[name]),
            _value(DEFAULTS[name]),
        ][: len(headers)]
        for name in names
    ]
    return widgets.table(headers, rows, stack=False)


def _title(name: str) -> str:
    return _(TrainConfig.model_fields[name].title or name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return f"{value:g}" if isinstance(value, float) else str(value)
