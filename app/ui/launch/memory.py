"""The launch page's memory estimate: total, breakdown, and ways to reduce it."""

from collections.abc import Sequence
from typing import Final

import gradio as gr
from markupsafe import Markup

from app.disk_forecast import DiskForecast
from app.estimates import MemoryForecast
from app.i18n import N_, _, _html, _n, in_language
from app.launch_forecast import forecast_runs
from app.store.models import Dataset
from app.templates import render
from app.ui import widgets
from app.ui.launch import form
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.config import TrainConfig
from hypo_engine.memory.estimate import format_bytes
from hypo_engine.memory.knobs import Knob

PARTS: Final = {
    "weights": N_("Weights"),
    "adapter": N_("Adapter"),
    "optimiser": N_("Optimiser"),
    "gradients": N_("Gradients"),
    "activations": N_("Activations"),
    "kv_cache": N_("Sampling"),
    "head": N_("Chunks of logits"),
    "process": "Python",
    "rollout": "vLLM",
    "loading": N_("Loading"),
}
"""Labels of an estimate's parts."""

UNITS: Final = (N_("GiB"), N_("MiB"), N_("KiB"))


def show(configs: Sequence[TrainConfig], dataset: Dataset) -> Updates:
    """Updates of the estimate and the `insist` checkbox; of several runs, the one that needs most counts.

    The disk space is that of all runs.
    """
    found = forecast_runs(configs, dataset.id)
    forecast = max((run.memory for run in found.runs), key=_needed)
    disk = disk_panel(found.disk) if found.disk else widgets.NOTHING
    insist = gr.update(visible=True) if not forecast.fits else gr.update(visible=False, value=False)
    return {"memory": widgets.join([panel(forecast), disk]), "insist": insist}


def _needed(forecast: MemoryForecast) -> int:
    return forecast.estimate.total if forecast.estimate else 0


def nothing() -> Updates:
    """Updates that clear the estimate."""
    return {"memory": widgets.NOTHING, "insist": gr.update(visible=False)}


def panel(forecast: MemoryForecast) -> Html:
    """The estimate as a sentence, a bar and a list, with suggestions for a run that does not fit."""
    if forecast.estimate is None:
        return Markup('<p class="hy-note">{}</p>').format(in_language(forecast.missing))
    total, at_once = forecast.estimate.total, forecast.estimate.at_once()
    scale = max(total, forecast.available or 0)
    parts = [
        {
            "name": part,
            "title": _(PARTS[part]),
            "size": _bytes(size),
            "percent": 100 * size / scale,
            "at_peak": part in at_once,
        }
        for part, size in forecast.estimate.parts().items()
        if size
    ]
    return render(
        "launch/memory.html",
        total=_total(forecast, _bytes(total)),
        parts=parts,
        limit=_limit(forecast, scale),
        help=_help(forecast),
    )


def disk_panel(disk: DiskForecast) -> Html:
    """The size of the checkpoints in a sentence; a warning if they do not fit."""
    size = _bytes(disk.size)
    said = _n(
        "{n} checkpoint takes {size} of disk.",
        "{n} checkpoints take {size} of disk.",
        disk.checkpoints,
        size=size,
    )
    if disk.fits or disk.free is None:
        return Markup('<p class="hy-note hy-disk">{}</p>').format(said)
    short = _(
        "{free} are free. Write fewer with Checkpoint every, or keep fewer with Checkpoints kept.",
        free=_bytes(disk.free),
    )
    return widgets.notice(f"{said} {short}", "warning")


def _limit(forecast: MemoryForecast, scale: int) -> float | None:
    """The position of the memory limit in per cent of the bar; None if the run fits."""
    if forecast.fits or forecast.available is None:
        return None
    return 100 * forecast.available / scale


def _total(forecast: MemoryForecast, total: str) -> Html:
    """The estimate in a sentence."""
    if forecast.available is None:
        if forecast.gpu:
            return _html("<b>About {total}</b> of memory at the peak, on the worker's GPU.", total=total)
        return _html("<b>About {total}</b> of memory at the peak, where the worker runs.", total=total)
    size = _bytes(forecast.available)
    if forecast.waits:
        return _html(
            "<b>About {total}</b> of memory at the peak; this machine has {size}.", total=total, size=size
        )
    return _html("<b>About {total}</b> of memory at the peak; {size} are free here.", total=total, size=size)


def _bytes(count: float) -> str:
    """`512 MiB`, with the unit in the reader's language."""
    number, _space, unit = format_bytes(count).partition(" ")
    return f"{number} {_(unit)}" if unit else number


def _help(forecast: MemoryForecast) -> Html:
    if forecast.fits:
        return widgets.NOTHING
    if not forecast.knobs:
        return widgets.notice(_("It will not fit."), "warning")
    knobs = [(_words(knob), _bytes(knob.estimate.total)) for knob in forecast.knobs]
    return widgets.notice(render("launch/help.html", knobs=knobs), "warning")


def _words(knob: Knob) -> str:
    """A knob in the form's labels: `Batch size 2 with Accumulation 8`."""
    said = []
    for name, value in knob.changes.items():
        title = form.title(name)
        value = getattr(value, "value", value)
        said.append(_("{field} on", field=title) if value is True else f"{title} {value}")
    first, *others = said
    return _("{change} with {other}", change=first, other=others[0]) if others else first
