"""The launch page's memory estimate: text, refusals, and the `insist` option."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import estimates
from app.disk_forecast import DiskForecast, forecast_disk
from app.estimates import MemoryForecast
from app.local.running import Running
from app.run_yaml import DEFAULTS
from app.settings import Settings
from app.store import runs
from app.store.models import Dataset
from app.ui.launch import opening
from app.ui.launch import page as launch_page
from app.ui.launch.errors import FIELDS
from app.ui.launch.memory import disk_panel, panel
from hypo_engine.config import Precision, TrainConfig
from hypo_engine.memory.estimate import GIB, Estimate
from hypo_engine.memory.knobs import Knob
from tests.app.ui.conftest import request_for
from tests.tiny_model import write_tiny_model

ESTIMATE = Estimate(
    weights=2 * GIB, adapter=0, optimiser=GIB, gradients=GIB, activations=5 * GIB, kv_cache=GIB,
    head=GIB // 2, process=GIB // 2,
)  # fmt: skip
SMALLER = Estimate(**{**ESTIMATE.parts(), "activations": 2 * GIB})
SIZES = {
    "model_type": "exaone4",  # a family whose sizes are not checked against the weights
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
}


def run(**values: Any) -> tuple[TrainConfig, Estimate, int]:
    return TrainConfig(**values), ESTIMATE, 100


def test_the_disk_of_checkpoints(settings: Settings) -> None:
    weights, state = ESTIMATE.gradients, ESTIMATE.optimiser
    assert forecast_disk([run()]).size == weights + state
    every = forecast_disk([run(save_steps=30), run(save_steps=30, save_total_limit=1)])
    assert (every.checkpoints, every.size) == (4 + 1, 4 * weights + 2 * state + weights + state)
    reward = forecast_disk([run(method="reward")])
    assert reward.size == weights + state + ESTIMATE.weights  # the merged model beside the adapter
    assert reward.free is not None


def test_the_disk_panel_warns_of_what_does_not_fit() -> None:
    assert disk_panel(DiskForecast(1, GIB, 2 * GIB)) == (
        '<p class="hy-note hy-disk">1 checkpoint takes 1.0 GiB of disk.</p>'
    )
    html = disk_panel(DiskForecast(12, 3 * GIB, 2 * GIB))
    assert "12 checkpoints take 3.0 GiB of disk. 2.0 GiB are free." in html
    assert "hy-notice" in html


@pytest.fixture
def model(tmp_path: Path, settings: Settings) -> str:
    """A model's folder, and a record that `hypo up` runs here with its own workers."""
    settings.root.mkdir(parents=True, exist_ok=True)
    Running(os.getpid(), "http://x", "redis://x", {"broker": 1}).write(settings)
    folder = write_tiny_model(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(SIZES))
    return str(folder)


def values(**changes: Any) -> list[Any]:
    return [changes.get(field, DEFAULTS[field]) for field in FIELDS]


def test_the_panel_says_how_much_and_of_what() -> None:
    html = panel(MemoryForecast(ESTIMATE, available=20 * GIB))
    assert "<b>About 10.0 GiB</b> of memory at the peak; 20.0 GiB are free here." in html
    assert 'hy-part-activations" style="width:25.00%' in html
    assert "Sampling, not at peak</dt><dd>1.0 GiB" in html
    assert "Adapter" not in html  # this run has no adapter
    assert "hy-notice" not in html


def test_a_bar_never_says_more_than_the_whole() -> None:
    for forecast in (MemoryForecast(ESTIMATE), MemoryForecast(ESTIMATE, available=4 * GIB)):
        html = panel(forecast)
        widths = [float(part.partition("%")[0]) for part in html.split("width:")[1:]]
        assert sum(widths) == pytest.approx(100, abs=0.1)
    assert "left:40.00%" in html


def test_what_would_help_is_said_in_the_forms_words() -> None:
    knobs = (
        Knob({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}, SMALLER),
        Knob({"gradient_checkpointing": True}, SMALLER),
        Knob({"precision": Precision.BFLOAT16}, SMALLER),
    )
    html = panel(MemoryForecast(ESTIMATE, available=8 * GIB, knobs=knobs))
    assert "It will not fit. What would help most:" in html
    assert "<li>Batch size 2 with Accumulation 8: <b>7.0 GiB</b></li>" in html
    assert "<li>Gradient checkpointing on: " in html
    assert "<li>Precision bfloat16: " in html
    assert "It will not fit" in panel(MemoryForecast(ESTIMATE, available=GIB))


@pytest.mark.parametrize(
    ("forecast", "words"),
    [
        (MemoryForecast(ESTIMATE), "at the peak, where the worker runs."),
        (MemoryForecast(ESTIMATE, gpu=True), "at the peak, on the worker's GPU."),
        (MemoryForecast(ESTIMATE, available=16 * GIB, waits=True), "at the peak; this machine has 16.0 GiB."),
        (MemoryForecast(None, "It comes <later>."), '<p class="hy-note">It comes &lt;later&gt;.</p>'),
    ],
)
def test_whose_memory_it_is(forecast: MemoryForecast, words: str) -> None:
    assert words in panel(forecast)


def test_the_estimate_follows_the_form(
    session: Session, dataset: Dataset, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "available_bytes", lambda: 64 * GIB)  # the real value varies

    def preview(method: str = "dpo", **changes: Any) -> tuple[str, dict[str, Any]]:
        found = launch_page.preview(dataset.id, method, "", *values(model_name_or_path=model, **changes))
        return found["memory"], found["insist"]

    html, insist = preview()
    assert "of memory at the peak" in html
    assert insist["visible"] is False
    assert preview(per_device_train_batch_size=8)[0] != html
    twins, hypo = (preview(method)[0].split('<p class="hy-note hy-disk">') for method in ("twins", "hypo"))
    assert (
        twins[0] == hypo[0] != html.split('<p class="hy-note hy-disk">')[0]
    )  # the one that needs more memory
    assert (twins[1][0], hypo[1][0]) == ("2", "1")  # the checkpoints of both
    assert preview(beta=-1)[0] == ""


def test_a_run_that_cannot_fit_is_launched_only_by_insisting(
    session: Session, dataset: Dataset, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "available_bytes", lambda: GIB // 10)
    given = values(model_name_or_path=model)
    found = launch_page.preview(dataset.id, "dpo", "", *given)
    assert "It will not fit" in found["memory"]
    assert found["insist"] == {"visible": True, "__type__": "update"}
    said = launch_page.launch_runs(None, dataset.id, "dpo", "", *given)["outcome"]
    assert "Nothing was queued" in said
    assert "What would help most" in said
    assert runs.find(session=session) == []
    session.commit()
    insisting = values(model_name_or_path=model, insist=True)
    assert "Queued" in launch_page.launch_runs(None, dataset.id, "dpo", "", *insisting)["outcome"]
    [run] = runs.find(session=session)
    assert run.config["insist"] is True


def test_a_draft_and_a_clone_do_not_insist(session: Session, dataset: Dataset, model: str) -> None:
    given = values(model_name_or_path=model, insist=True)
    draft = launch_page.preview(dataset.id, "dpo", "", *given)["draft"]
    assert draft["values"]["insist"] is False
    launch_page.launch_runs(None, dataset.id, "dpo", "", *given)
    [run] = runs.find(session=session)
    session.commit()
    opened = opening.open_page({}, request_for(clone=run.id))
    assert opened["insist"] is False
