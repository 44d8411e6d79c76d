"""The launch page's summary of a run: steps, pairs, warnings and expected time."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from app.held_out_share import nothing_held_out
from app.launch_methods import PENDING
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


def show(configs: Sequence[TrainConfig], dataset: Dataset | None, errors: Mapping[str, str]) -> Updates:
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
    config = configs[-1]
    work = workload(config, dataset.id)
    if not work.counts.train:
        return _shown(_no_training_pairs(work), lengths=_lengths(work, config))
    said = [widgets.notice(remark, "warning") for remark in remarks(work, config)]
    with read_session() as session:
        missing = nothing_held_out(dataset, session=session)
    if missing and (config.eval_pairs or config.eval_prompts or config.probe_prompts):
        said.append(widgets.notice(missing, "warning"))
    summary = widgets.join([_sentence(work, configs), *_minimised(configs), *said])
    time = _time([forecast(one, work) for one in configs]) if work.pairs else widgets.NOTHING
    return _shown(summary, time, _lengths(work, config))


def _shown(summary: Html, time: Html = widgets.NOTHING, lengths: Html = widgets.NOTHING) -> Updates:
    return {"summary": summary, "time": time, "lengths": lengths}


def _no_training_pairs(work: Workload) -> Html:
    where = "all its pairs are held out" if work.counts.held_out else "it is empty"
    return widgets.notice(f"This dataset has no training pairs: {where}. Choose another.", "warning")


def _sentence(work: Workload, configs: Sequence[TrainConfig]) -> Html:
    """The amount of work in one sentence."""
    about = "" if work.exact or work.lengths is None else "about "
    sampling = [config.method.label for config in configs if config.samples_online]
    sampled = f"{work.seen * configs[-1].num_generations:,} responses"
    own = f" {sampling[0]} samples {sampled}." if sampling else ""
    if len(sampling) > 1:
        own = f" {formatting.in_words(sampling)} sample {sampled} each."
    return Markup('<p class="hy-summary"><b>{}</b> of {} on {}{}, {} a step; {}.{}</p>').format(
        formatting.capital(formatting.in_words([config.method.run for config in configs])),
        formatting.count(work.steps, "step"),
        about,
        formatting.count(work.pairs, "training pair"),
        f"{work.a_step:,}",
        epochs_in_words(work),
        own,
    )


def _minimised(configs: Sequence[TrainConfig]) -> list[Html]:
    """What a single run minimises, in words; of several runs, which waits for which."""
    if any(config.reward == PENDING for config in configs):
        waits = "The reward model is trained first, on the same pairs. The other runs wait for it."
        return [Markup('<p class="hy-note">{}</p>').format(waits)]
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
    others = len(forecasts) - len(known)
    missing = ("the other method is" if others == 1 else f"the other {others} methods are") if others else ""
    head, detail = parts[0], f"; {missing} not measured yet" if missing else ""
    if len(known) > 1:
        head = formatting.duration(sum(found.seconds for found in known))
        detail = f": {formatting.in_words(parts)}{detail}"
    return render("launch/time.html", total=head, detail=detail, sources=sources, device=known[0].device)
