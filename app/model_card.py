"""The model card that goes with an exported run."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from app.store.models import Run
from hypo_engine.config import Method
from hypo_engine.measures import MEASURES, Measure, pairs_left_out
from hypo_engine.model_spec import is_run_model, parse_run_model

REWARD_USAGE: Final = (
    "Load it with `AutoModelForSequenceClassification.from_pretrained(FOLDER)`. Its one output is the\n"
    "reward of a prompt with an answer and the answer's end token. `reward.json` holds the mean and the\n"
    "standard deviation of the rewards of the base model's own answers; subtract the mean to compare\n"
    "rewards with 0."
)


class Form(StrEnum):
    """What an export holds: the trained weights alone, or the whole model in one of two formats."""

    TRAINED = "trained"
    MERGED = "merged"
    GGUF = "gguf"


def model_card(run: Run, metrics: Mapping[str, float], step: int, form: Form = Form.TRAINED) -> str:
    """The model card in Markdown, with the hub's YAML header: model, data, configuration and measurements.

    Args:
        metrics: the last value of each metric, from `runs.final_metrics`.
        step: optimiser steps behind the exported weights.
    """
    method = Method(run.method)
    is_adapter = int(run.config.get("lora_r", 0)) > 0 and method.writes and form is Form.TRAINED
    library = "gguf" if form is Form.GGUF else "peft" if is_adapter else "transformers"
    header: dict[str, object] = {
        "library_name": library,
        "tags": ["preference-tuning", run.method, "hypo-studio"],
    }
    of_run = parse_run_model(run.base_model) if is_run_model(run.base_model) else None
    if run.base_model != "demo" and of_run is None and not Path(run.base_model).is_absolute():
        header["base_model"] = run.base_model  # the hub wants an id
    base = "SmolLM2-135M-Instruct (the demo model)" if run.base_model == "demo" else f"`{run.base_model}`"
    if of_run is not None:
        base = f"the merged model of run {of_run.run}"
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False).strip(),
        "---",
        "",
        f"# {run.name}",
        "",
        f"{_kind(method, is_adapter=is_adapter, form=form)} of {base}, trained{_by(method)} for {step} steps "
        f"on {_pairs(metrics)} of the dataset `{run.dataset.name}` "
        f"version {run.dataset.version} (sha256 `{run.dataset.sha256[:12]}`).",
        *_left_out(metrics),
        "",
        "## Measured at the end",
        "",
        *_metric_table(metrics),
        "",
        "## Configuration",
        "",
        "```yaml",
        yaml.safe_dump(dict(run.config), sort_keys=False).strip(),
        "```",
        "",
        _usage(is_adapter, run.base_model, form) if method.writes else REWARD_USAGE,
        *_four_bit(run.config, is_adapter=is_adapter),
    ]
    return "\n".join(lines) + "\n"


def _kind(method: Method, *, is_adapter: bool, form: Form) -> str:
    if not method.writes:
        return "A reward model made"
    if form is Form.GGUF:
        return "A GGUF file"
    return "A LoRA adapter" if is_adapter else "A full set of weights"


def _by(method: Method) -> str:
    return f" by {method.label}" if method.writes else ""


def _pairs(metrics: Mapping[str, float]) -> str:
    """The number of pairs trained on: those not held out, too long or refused."""
    used = metrics.get("num_train_pairs")
    return "training pairs" if used is None else f"{used:,.0f} {'pair' if used == 1 else 'pairs'}"


def _left_out(metrics: Mapping[str, float]) -> list[str]:
    """A paragraph on the pairs left out of training, if there are any."""
    sentence = pairs_left_out(metrics)
    return ["", sentence] if sentence else []


def _metric_table(metrics: Mapping[str, float]) -> list[str]:
    shown = [measure for measure in MEASURES if measure.metric in metrics]
    if not shown:
        return ["Nothing was evaluated."]
    return [
        "| what | metric | value | of |",
        "|---|---|---|---|",
        *(
            f"| {measure.label}{f', {measure.unit}' if measure.unit else ''} | `{measure.metric}` "
            f"| {measure.text(metrics)} | {_of(measure, metrics)} |"
            for measure in shown
        ),
        "",
        "± is one standard error. A tie counts half in accuracies.",
    ]


def _of(measure: Measure, metrics: Mapping[str, float]) -> str:
    count = metrics.get(measure.count)
    return f"{count:,.0f} {measure.counted}" if count else measure.counted


def _four_bit(config: Mapping[str, Any], *, is_adapter: bool) -> list[str]:
    """A paragraph on the weights below an adapter that was trained on 4-bit ones."""
    if not config.get("load_in_4bit"):
        return []
    if not is_adapter:
        return [
            "",
            "The base model's weights were rounded to 4 bits for training, and these files have them so.",
        ]
    return [
        "",
        "It was trained on 4-bit weights. Load the base model with\n"
        "`quantization_config=BitsAndBytesConfig(**json.load(open(FOLDER + '/quantization.json')))`;\n"
        "on other weights its log-probabilities differ from those measured here.",
    ]


def _usage(is_adapter: bool, base_model: str, form: Form) -> str:
    if form is Form.GGUF:
        return "Load it with llama.cpp: `llama-cli -m FOLDER/model.gguf`."
    if not is_adapter:
        return "Load it with `AutoModelForCausalLM.from_pretrained(FOLDER)`."
    base = "the folder of the base model" if base_model == "demo" else f'"{base_model}"'
    if is_run_model(base_model):
        base = f"the folder that `hypo runs export {base_model[4:].partition('@')[0]} --merged` writes"
    return (
        "Load it with `PeftModel.from_pretrained(base, FOLDER)`, where `base` is\n"
        f"`AutoModelForCausalLM.from_pretrained(...)` of {base}."
    )
