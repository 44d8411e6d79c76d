"""The launch page's word on the work: how many steps on how many pairs, and what is odd about it."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from app.store.models import Dataset
from app.ui import form, widgets
from app.ui.widgets import Html


def show(values: Mapping[str, Any], method: str, dataset: Dataset | None, errors: Mapping[str, str]) -> Html:
    """How much work this is, in a sentence."""
    if dataset is None:
        return widgets.empty_state(
            "No dataset yet",
            "A run learns from pairs of answers: a prompt, a chosen and a rejected one.",
            widgets.link_button("Bring in a dataset", "datasets", primary=True),
        )
    if errors:
        return widgets.notice(f"To correct first: {form.titles(errors)}.", "warning")
    pairs = round(dataset.rows * (1 - dataset.held_out))
    a_step = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
    steps = values["max_steps"]
    if steps < 0:
        steps = max(1, round(values["num_train_epochs"] * pairs / a_step))
    passes = steps * a_step / pairs if pairs else 0.0
    what = {"twins": "A DPO and a HyPO run", "dpo": "A DPO run", "hypo": "A HyPO run"}[method]
    sampled = steps * a_step * values["num_generations"] if method != "dpo" else 0
    own = f" HyPO samples {sampled:,} responses." if sampled else ""
    return Markup('<p class="hy-summary"><b>{}</b> of {} on about {}, {} a step ({}).{}</p>').format(
        what, widgets.count(steps, "step"), widgets.count(pairs, "pair"), a_step, _epochs(passes), own
    )


def _epochs(passes: float) -> str:
    text = f"{passes:.2g}"
    return f"{text} epoch" if text == "1" else f"{text} epochs"
