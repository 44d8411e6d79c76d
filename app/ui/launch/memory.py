"""The launch page's memory estimate: total, breakdown, and ways to reduce it."""

from collections.abc import Sequence
from typing import Final

import gradio as gr
from markupsafe import Markup

from app.estimates import MemoryForecast, forecast_memory
from app.store.models import Dataset
from app.templates import render
from app.ui import widgets
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.config import TrainConfig
from hypo_engine.memory.estimate import Estimate, format_bytes
from hypo_engine.memory.knobs import Knob

PARTS: Final = {
    "weights": "Weights",
    "adapter": "Adapter",
    "optimiser": "Optimiser",
    "gradients": "Gradients",
    "activations": "Activations",
    "kv_cache": "Sampling",
    "head": "Chunks of logits",
    "process": "Python",
}
"""Labels of an estimate's parts."""


def show(configs: Sequence[TrainConfig], dataset: Dataset) -> Updates:
    """Updates of the estimate and the `insist` checkbox; of several runs, the one that needs most counts."""
    forecast = max((forecast_memory(config, dataset.id) for config in configs), key=_needed)
    insist = gr.update(visible=True) if not forecast.fits else gr.update(visible=False, value=False)
    return {"memory": panel(forecast), "insist": insist}


def _needed(forecast: MemoryForecast) -> int:
    return forecast.estimate.total if forecast.estimate else 0


def nothing() -> Updates:
    """Updates that clear the estimate."""
    return {"memory": widgets.NOTHING, "insist": gr.update(visible=False)}


def panel(forecast: MemoryForecast) -> Html:
    """The estimate as a sentence, a bar and a list, with suggestions for a run that does not fit."""
    if forecast.estimate is None:
        return Markup('<p class="hy-note">{}</p>').format(forecast.missing)
    total, at_once = forecast.estimate.total, _at_once(forecast.estimate)
    scale = max(total, forecast.available or 0)
    parts = [
        {
            "name": part,
            "title": PARTS[part],
            "size": format_bytes(size),
            "percent": 100 * size / scale,
            "at_peak": part in at_once,
        }
        for part, size in forecast.estimate.parts().items()
        if size
    ]
    return render(
        "launch/memory.html",
        total=format_bytes(total),
        of_what=_of_what(forecast),
        parts=parts,
        limit=_limit(forecast, scale),
        help=_help(forecast),
    )


def _limit(forecast: MemoryForecast, scale: int) -> float | None:
    """The position of the memory limit in per cent of the bar; None if the run fits."""
    if forecast.fits or forecast.available is None:
        return None
    return 100 * forecast.available / scale


def _at_once(estimate: Estimate) -> dict[str, int]:
    """The parts that add up to the peak; the KV cache and the activations do not exist at the same time."""
    parts = {part: size for part, size in estimate.parts().items() if size}
    later = "kv_cache" if estimate.kv_cache <= estimate.activations else "activations"
    parts.pop(later, None)
    return parts


def _of_what(forecast: MemoryForecast) -> str:
    if forecast.available is not None:
        size = format_bytes(forecast.available)
        return f"; this machine has {size}." if forecast.waits else f"; {size} are free here."
    return ", on the worker's GPU." if forecast.gpu else ", where the worker runs."


def _help(forecast: MemoryForecast) -> Html:
    if forecast.fits:
        return widgets.NOTHING
    if not forecast.knobs:
        return widgets.notice("It will not fit.", "warning")
    knobs = [(_words(knob), format_bytes(knob.estimate.total)) for knob in forecast.knobs]
    return widgets.notice(render("launch/help.html", knobs=knobs), "warning")


def _words(knob: Knob) -> str:
    """A knob in the form's labels: `Batch size 2 with Accumulation 8`."""
    fields = TrainConfig.model_fields
    said = []
    for name, value in knob.changes.items():
        title = fields[name].title or name
        said.append(f"{title} on" if value is True else f"{title} {getattr(value, 'value', value)}")
    return " with ".join(said)
