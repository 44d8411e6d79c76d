"""The model card that goes with an exported run."""

from collections.abc import Mapping

import yaml

from app.store.models import Run

_TITLES = {"dpo": "DPO", "hypo": "HyPO"}


def model_card(run: Run, metrics: Mapping[str, float], step: int) -> str:
    """Markdown with the hub's YAML header: what was trained, on what, how, and what was measured.

    Args:
        metrics: the last value of each metric, from `runs.final_metrics`.
        step: optimiser steps behind the exported weights.
    """
    is_adapter = int(run.config.get("lora_r", 0)) > 0
    header: dict[str, object] = {
        "library_name": "peft" if is_adapter else "transformers",
        "tags": ["preference-tuning", run.method, "hypo-studio"],
    }
    if run.base_model != "demo":
        header["base_model"] = run.base_model
    base = "SmolLM2-135M-Instruct (the demo model)" if run.base_model == "demo" else f"`{run.base_model}`"
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False).strip(),
        "---",
        "",
        f"# {run.name}",
        "",
        f"{'A LoRA adapter' if is_adapter else 'A full set of weights'} of {base}, trained by "
        f"{_TITLES[run.method]} for {step} steps on the dataset `{run.dataset.name}` "
        f"version {run.dataset.version} ({run.dataset.rows} pairs, sha256 `{run.dataset.sha256[:12]}`).",
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
        _usage(is_adapter, run.base_model),
    ]
    return "\n".join(lines) + "\n"


def _metric_table(metrics: Mapping[str, float]) -> list[str]:
    shown = {name: value for name, value in sorted(metrics.items()) if name.startswith("eval_")}
    if not shown:
        return ["Nothing was evaluated."]
    return [
        "| metric | value |",
        "|---|---|",
        *(f"| `{name}` | {value:.4g} |" for name, value in shown.items()),
    ]


def _usage(is_adapter: bool, base_model: str) -> str:
    if not is_adapter:
        return "Load it with `AutoModelForCausalLM.from_pretrained(FOLDER)`."
    base = "the folder of the base model" if base_model == "demo" else f'"{base_model}"'
    return (
        "Load it with `PeftModel.from_pretrained(base, FOLDER)`, where `base` is\n"
        f"`AutoModelForCausalLM.from_pretrained(...)` of {base}."
    )
