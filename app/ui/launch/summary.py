"""The launch page's summary of a run: steps, pairs, warnings and expected time."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from app import weights
from app.held_out_share import nothing_held_out
from app.i18n import _, _html, _n, in_language
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
from hypo_engine.data.formats import Account


def show(configs: Sequence[TrainConfig], dataset: Dataset | None, errors: Mapping[str, str]) -> Updates:
    """Updates of the summary with its warnings, the expected time and the token lengths."""
    if dataset is None:
        empty = widgets.empty_state(
            _("No dataset yet"),
            _("A run learns from pairs: a prompt with a chosen and a rejected answer."),
            widgets.link_button(_("Add a dataset"), "datasets", primary=True),
        )
        return _shown(empty)
    if errors:
        wrong = widgets.notice(_("Correct first: {fields}.", fields=form.titles(errors)), "warning")
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
    notes = [*_minimised(configs), *_weights(dataset, configs)]
    summary = widgets.join([_sentence(work, configs), *notes, *said])
    time = _time([forecast(one, work) for one in configs]) if work.pairs else widgets.NOTHING
    return _shown(summary, time, _lengths(work, config))


def _shown(summary: Html, time: Html = widgets.NOTHING, lengths: Html = widgets.NOTHING) -> Updates:
    return {"summary": summary, "time": time, "lengths": lengths}


def _no_training_pairs(work: Workload) -> Html:
    if work.counts.held_out:
        words = _("This dataset has no training pairs: all its pairs are held out. Choose another.")
    else:
        words = _("This dataset has no training pairs: it is empty. Choose another.")
    return widgets.notice(words, "warning")


def _sentence(work: Workload, configs: Sequence[TrainConfig]) -> Html:
    """The amount of work in one sentence."""
    pairs = formatting.count(work.pairs, "training pair")
    work_in_words = _html(
        "<b>{runs}</b> of {steps} on {pairs}, {n} a step; {epochs}.",
        runs=_runs(configs),
        steps=formatting.count(work.steps, "step"),
        pairs=pairs if work.exact or work.lengths is None else _("about {number}", number=pairs),
        n=f"{work.a_step:,}",
        epochs=epochs_in_words(work),
    )
    return Markup('<p class="hy-summary">{} {}</p>').format(work_in_words, _sampling(work, configs))


def _runs(configs: Sequence[TrainConfig]) -> str:
    """The runs by method; of a sweep, their number."""
    if len(configs) > len({config.method for config in configs}):
        return _n("{n} run", "{n} runs", len(configs))
    return formatting.capital(formatting.in_words([_(config.method.run) for config in configs]))


def _sampling(work: Workload, configs: Sequence[TrainConfig]) -> str:
    """How many responses the runs sample."""
    methods = list(dict.fromkeys(config.method.label for config in configs if config.samples_online))
    if not methods:
        return ""
    sampled = work.seen * configs[-1].num_generations
    if len(methods) == 1:
        return _n(
            "{method} samples {n} response.", "{method} samples {n} responses.", sampled, method=methods[0]
        )
    return _n(
        "{methods} sample {n} response each.",
        "{methods} sample {n} responses each.",
        sampled,
        methods=formatting.in_words(methods),
    )


def _minimised(configs: Sequence[TrainConfig]) -> list[Html]:
    """What a single run minimises, in words; of several runs, which waits for which."""
    if any(config.reward == PENDING for config in configs):
        waits = _("The reward model is trained first, on the same pairs. The other runs wait for it.")
        return [Markup('<p class="hy-note">{}</p>').format(waits)]
    if len(configs) > 1:
        return []
    said = _("It minimises {loss}.", loss=_(configs[0].method.loss))
    return [Markup('<p class="hy-note">{}</p>').format(said)]


def _weights(dataset: Dataset, configs: Sequence[TrainConfig]) -> list[Html]:
    """What the runs make of the weights and margins of the pairs."""
    said = weights.on_launch(Account.of(dataset.account), dataset.rows, configs)
    return [Markup('<p class="hy-note">{}</p>').format(sentence) for sentence in said]


def _lengths(work: Workload, config: TrainConfig) -> Html:
    if work.lengths is None:
        return Markup('<p class="hy-note">{}</p>').format(
            _("Token lengths appear once the model is on this machine; the first run downloads it.")
        )
    return length_charts.under_limits(work.lengths, config.max_prompt_length, config.max_completion_length)


def _time(forecasts: list[Forecast | None]) -> Html:
    """The expected time of the runs, based on steps measured on this machine."""
    known = [found for found in forecasts if found is not None]
    if not known:
        return Markup('<p class="hy-note hy-time">{}</p>').format(
            _(
                "Time: not measured yet for this model on this machine. A Quick look takes a few minutes and "
                "measures it."
            )
        )
    total = formatting.duration(sum(found.seconds for found in known))
    of_each: dict[str, float] = {}
    for found in known:
        of_each[found.title] = of_each.get(found.title, 0.0) + found.seconds
    parts = [
        _("{time} for {method}", time=formatting.duration(seconds), method=_(title))
        for title, seconds in of_each.items()
    ]
    said: list[str] = [
        _html("<b>About {time}</b>: {parts}", time=total, parts=formatting.in_words(parts))
        if len(parts) > 1
        else _html("<b>About {time}</b>", time=parts[0])
    ]
    if others := len(forecasts) - len(known):
        said.append(
            _("the other method is not measured yet")
            if others == 1
            else _n(
                "the other {n} method is not measured yet",
                "the other {n} methods are not measured yet",
                others,
            )
        )
    ids = dict.fromkeys(found.run_id for found in known)
    sources = [widgets.link(_("run {id}", id=run_id), "run", id=run_id) for run_id in ids]
    source = _html(
        "From the steps of {runs} on {device}.",
        runs=widgets.join(sources, _(" and ")),
        device=in_language(known[0].device),
    )
    return render("launch/time.html", words=Markup("{}.").format(widgets.join(said, "; ")), source=source)
