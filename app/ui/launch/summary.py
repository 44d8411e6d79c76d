"""The launch page's summary of a run: steps, pairs, warnings and expected time."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from app.held_out_share import nothing_held_out
from app.launch import LaunchMethod
from app.store.db import read_session
from app.store.models import Dataset
from app.templates import render
from app.timings import Forecast, forecast
from app.ui import formatting, length_charts, widgets
from app.ui.launch import form
from app.ui.updates import Updates
from app.ui.widgets import Html
from app.workload import Workload, epochs_in_words, remarks, workload
from hypo_engine.config import TrainConfig

TWINS = "A DPO and a HyPO run"


def show(
    values: Mapping[str, Any], method: str, dataset: Dataset | None, errors: Mapping[str, str]
) -> Updates:
    """Updates of the summary with its warnings, the expected time and the token lengths."""
    if dataset is None:
        empty = widgets.empty_state(
            "No dataset yet",
            "A run learns from pairs: a prompt with a chosen and a rejected answer.",
            widgets.link_button("Add a dataset", "datasets", primary=True),
        )
        return _shown(empty)
    if errors:
        wrong = widgets.notice(f"Correct first: {form.titles(errors)}.", "warning")
        return _shown(wrong)
    methods = LaunchMethod(method).methods
    configs = [TrainConfig.model_validate({**values, "method": one}) for one in methods]
    config = configs[-1]
    work = workload(config, dataset.id)
    if not work.counts.train:
        return _shown(_no_training_pairs(work), lengths=_lengths(work, config))
    said = [widgets.notice(remark, "warning") for remark in remarks(work, config)]
    with read_session() as session:
        missing = nothing_held_out(dataset, session=session)
    if missing and (config.eval_pairs or config.eval_prompts or config.probe_prompts):
        said.append(widgets.notice(missing, "warning"))
    summary = widgets.join([_sentence(work, config, method), *_minimised(configs), *said])
    time = _time([forecast(one, work) for one in configs]) if work.pairs else widgets.NOTHING
    return _shown(summary, time, _lengths(work, config))


def _shown(summary: Html, time: Html = widgets.NOTHING, lengths: Html = widgets.NOTHING) -> Updates:
    return {"summary": summary, "time": time, "lengths": lengths}


def _no_training_pairs(work: Workload) -> Html:
    where = "all its pairs are held out" if work.counts.held_out else "it is empty"
    return widgets.notice(f"This dataset has no training pairs: {where}. Choose another.", "warning")


def _sentence(work: Workload, config: TrainConfig, method: str) -> Html:
    """The amount of work in one sentence."""
    about = "" if work.exact or work.lengths is None else "about "
    title, sampled = config.method.label, work.seen * config.num_generations if config.samples_online else 0
    own = f" {title} samples {sampled:,} responses." if sampled else ""
    return Markup('<p class="hy-summary"><b>{}</b> of {} on {}{}, {} a step; {}.{}</p>').format(
        TWINS if method == LaunchMethod.TWINS else formatting.capital(config.method.run),
        formatting.count(work.steps, "step"),
        about,
        formatting.count(work.pairs, "training pair"),
        f"{work.a_step:,}",
        epochs_in_words(work),
        own,
    )


def _minimised(configs: list[TrainConfig]) -> list[Html]:
    """What a single run minimises, in words."""
    if len(configs) > 1:
        return []
    note = Markup('<p class="hy-note">It minimises {}.</p>')
    return [note.format(configs[0].method.loss)]


def _lengths(work: Workload, config: TrainConfig) -> Html:
    if work.lengths is None:
        return Markup('<p class="hy-note">{}</p>').format(
            "Token lengths appear once the model is on this machine; the first run downloads it."
        )
    return length_charts.under_limits(work.lengths, config.max_prompt_length, config.max_completion_length)


def _time(forecasts: list[Forecast | None]) -> Html:
    """The expected time of the runs, based on steps measured on this machine."""
    known = [found for found in forecasts if found is not None]
    if not known:
        return Markup('<p class="hy-note hy-time">{}</p>').format(
            "Time: not measured yet for this model on this machine. A Quick look takes a few minutes and "
            "measures it."
        )
    parts = [f"{formatting.duration(found.seconds)} for {found.title}" for found in known]
    sources = widgets.join(
        [widgets.link(f"run {found.run_id}", "run", id=found.run_id) for found in known], " and "
    )
    head, detail = parts[0], "" if len(forecasts) == 1 else "; the other method is not measured yet"
    if len(known) > 1:
        head, detail = formatting.duration(sum(found.seconds for found in known)), f": {' and '.join(parts)}"
    return render("launch/time.html", total=head, detail=detail, sources=sources, device=known[0].device)
