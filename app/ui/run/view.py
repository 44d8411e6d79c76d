"""HTML pieces of the run page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy.orm import Session

from app import presence
from app.held_out_share import nothing_held_out
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
        widgets.link_button("Clone", "launch", clone=run.id),
        widgets.link_button("Overlay", "runs", compare=compare),
        widgets.link_button("Lineage", "lineage", run=run.id),
    ]
    if run.status is RunStatus.FINISHED and Method(run.method).writes:
        buttons.insert(1, widgets.link_button("Train further", "launch", start=f"run:{run.id}"))
    writers = [twin for twin in twins if Method(twin.method).writes]
    compare = ",".join(str(twin.id) for twin in writers)
    if any(twin.status is RunStatus.FINISHED for twin in writers):
        buttons.append(widgets.link_button("Judge many prompts", "campaigns", runs=compare))
        buttons.append(widgets.link_button("Compare answers", "compare", primary=True, runs=compare))
    if run.archived_at:
        badges.append(widgets.status_badge("archived"))
    if tags:
        badges.append(widgets.tag_chips(tags))
    lead = render("run/badges.html", id=run.id, badges=badges, twins=others)
    top = widgets.page_header(run.name, lead, *buttons, tab=f"Run {run.id}")
    if not run.notes:
        return top
    return widgets.join([top, Markup('<div class="hy-notes">{}</div>').format(to_html(run.notes))])


def _state_word(run: Run) -> str:
    if run.status is RunStatus.RUNNING and run.wish is RunWish.CANCEL:
        return "stopping"
    return run.status.value


def status(run: Run, *, session: Session) -> Html:
    """The run's status: its place in the queue, its progress, its results or its error."""
    if run.status is RunStatus.QUEUED:
        return _queued(run, session)
    if run.status is RunStatus.FAILED:
        return widgets.join(
            [widgets.error_banner(run.error or "The run failed without a message.", run.traceback), _bar(run)]
        )
    if run.status is RunStatus.RUNNING and run.wish is RunWish.CANCEL:
        stopping = widgets.notice(
            "Cancel requested; the run stops after its current step, or its process is killed.", "warning"
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
            *((measure.label, measure.text(last)) for measure in shown),
            ("Trained for", _trained_for(run, last)),
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
        return f"{steps}, {epochs:.0%} of {of}"
    return f"{steps}, {epochs:.3g} {'epoch' if epochs == 1 else 'epochs'} of {of}"


def _queued(run: Run, session: Session) -> Html:
    if awaited := run_dependencies.awaited([run], session=session).get(run.id):
        return _waiting_for(awaited)
    place = runs.place_in_queue(run, session=session)
    text = Markup("Place <b>{}</b> in the queue.").format(place)
    if first := _twin_before(run, session):
        text = Markup("{} Its twin {} comes first: {}.").format(
            text, widgets.link(f"run {first.id}, {first.name}", "run", id=first.id), _how_far(first)
        )
    if run.sent_at is None:
        wait = "It waits for the broker, which has not taken its message; a worker sends it again by itself."
        text = Markup("{} {}").format(text, wait)
    if workers.consuming(session=session, queue="train"):
        return widgets.notice(Markup("{} It starts by itself when a train worker is free.").format(text))
    return widgets.notice(Markup("{} {}").format(text, no_worker(session=session)), "warning")


def _waiting_for(other: Run) -> Html:
    """Which run must finish first, and how far it is."""
    link = widgets.link(f"run {other.id}, {other.name}", "run", id=other.id)
    said = Markup("It waits for {} ({}), and starts by itself when that has finished.")
    return widgets.notice(said.format(link, _how_far(other)))


def _how_far(other: Run) -> str:
    """The state of another run, with its steps while it trains."""
    steps = f", step {other.step:,} of {other.total_steps:,}" if other.total_steps else ""
    return f"{_state_word(other)}{steps if other.status is RunStatus.RUNNING else ''}"


def _twin_before(run: Run, session: Session) -> Run | None:
    """The twin that trains, or that starts before this queued run."""
    twins = [twin for twin in runs.twins_of(run, session=session) if not twin.status.is_over]
    training = [twin for twin in twins if twin.status is RunStatus.RUNNING]
    return next((twin for twin in (*training, *twins) if twin.id != run.id and twin.id < run.id), None)


def no_worker(queue: str = "train", *, session: Session) -> Html:
    """What to do when no worker is consuming a queue."""
    trouble = presence.worker_trouble(queue, session=session)
    return widgets.escape(trouble) if trouble else widgets.with_commands(presence.no_worker(queue))


def _bar(run: Run) -> Html:
    live = run.status is RunStatus.RUNNING
    if not live and not run.total_steps:
        return widgets.NOTHING
    left = runs.seconds_left(run)
    phase = run.phase if live else ""
    return widgets.progress_bar(run.step, run.total_steps, seconds_left=left, phase=phase, live=live)


def _stored(stored: DiskUse) -> str:
    size = "" if stored.size_bytes is None else f", {_size(stored.size_bytes)}"
    some = stored.resumable < stored.checkpoints
    rest = f"; {stored.resumable} with the optimiser's state" if some else ""
    return f"{formatting.count(stored.checkpoints, 'checkpoint')}{size}{rest}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _base_model(name: str) -> Html | str:
    """A base model's name; a link to its run if it is one's."""
    named = parse_run_model(name) if is_run_model(name) else None
    return name if named is None else widgets.link(name, "run", id=named.run)


def run_facts(run: Run, stored: DiskUse) -> Html:
    """The run's facts: dataset, model, main settings, worker, storage."""
    dataset = widgets.link(f"{run.dataset.name} v{run.dataset.version}", "datasets", id=run.dataset_id)
    pairs: list[tuple[str, object]] = [("Dataset", dataset), ("Base model", _base_model(run.base_model))]
    if run.status.is_over:
        under = widgets.link("under this model", "pairs", dataset=run.dataset_id, run=run.id)
        pairs.append(("Pairs", under))
    pairs += [
        (_title(name), _value(run.config[name]))
        for name in _HEAD
        if run.config.get(name) not in (None, "") and applies(name, Method(run.method))
    ]
    pairs.append(("Seed", run.seed))
    pairs.append(("Launched", formatting.ago(run.created_at)))
    if run.started_at and run.finished_at:
        pairs.append(("Took", formatting.duration((run.finished_at - run.started_at).total_seconds())))
    if run.worker:
        pairs.append(("Worker", run.worker))
    if run.attempt > 1:
        pairs.append(("Attempt", run.attempt))
    if stored.checkpoints:
        pairs.append(("On disk", _stored(stored)))
    if run.parent_id:
        pairs.append(("Cloned from", widgets.link(f"run {run.parent_id}", "run", id=run.parent_id)))
    return widgets.facts(pairs)


_HEAD = ("reward", "beta", "learning_rate", "per_device_train_batch_size", "lora_r", "kl_coef")


def findings(found: Sequence[Finding]) -> Html:
    """The findings as HTML."""
    return render("run/findings.html", findings=found) if found else widgets.NOTHING


def log(events: Sequence[RunEvent]) -> Html:
    """The run's log, newest first."""
    if not events:
        return widgets.empty_state("The log is empty", "The log shows what the run does.")
    lines = [
        {"level": event.level.value, "at": event.at, "message": widgets.escape(event.message)}
        for event in reversed(events)
    ]
    return render("run/log.html", lines=lines)


def config_table(config: Mapping[str, Any]) -> Html:
    """The configuration: changed settings first, defaults collapsed."""
    names = [name for name in TrainConfig.model_fields if name in config]
    own = [name for name in names if config[name] != DEFAULTS[name]]
    rest = [name for name in names if config[name] == DEFAULTS[name]]
    changed = (
        _fields(own, config, ["Setting", "Value", "Default"])
        if own
        else widgets.notice("All settings have their defaults.")
    )
    return render(
        "run/config.html",
        changed=widgets.section("Changed from the defaults", changed),
        count=formatting.count(len(rest), "setting"),
        rest=_fields(rest, config, ["Setting", "Value"]),
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
    return TrainConfig.model_fields[name].title or name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
