"""Memory forecasts before a run is queued, and refusals."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import estimates
from app.errors import InvalidInput, Refused
from app.estimates import find_config, forecast_memory, refuse_what_cannot_fit
from app.launch import launch
from app.local.running import Running
from app.settings import Settings
from app.store import dataset_writing, datasets, runs, workers
from app.store.models import Dataset
from hypo_engine.config import Precision, TrainConfig
from hypo_engine.data.formats import Kept, Pair
from hypo_engine.memory.estimate import PairLength, estimate_memory
from hypo_engine.memory.shape import read_shape
from tests.tiny_model import write_tiny_model
from tests.transactions import within

SIZES = {
    "model_type": "exaone4",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 500,
}
MIB = 2**20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A complete model whose config.json has other sizes, of a family whose sizes are not checked."""
    folder = write_tiny_model(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(SIZES))
    return folder


@pytest.fixture
def dataset(session: Session) -> Dataset:
    pairs = [
        Kept(row=n, pair=Pair(prompt="p" * 30 * n, chosen="c" * 60, rejected="r" * 90)) for n in (1, 3, 2)
    ]
    made = dataset_writing.create(
        write=within(session),
        name="pairs",
        sha256="0" * 64,
        format="explicit",
        source="test",
        held_out=0,
        pairs=pairs,
    )
    session.commit()
    return made


@pytest.fixture
def own_workers(settings: Settings, session: Session) -> None:
    """Record, as `hypo up` does, that it runs here with its own broker."""
    settings.root.mkdir(parents=True, exist_ok=True)
    Running(os.getpid(), "http://x", "redis://x", {"broker": 1}).write(settings)


def config_for(model: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(model_name_or_path=str(model), **{"eval_prompts": 0, "method": "dpo", **changes})


def little(monkeypatch: pytest.MonkeyPatch, free: int, whole: int | None = None) -> None:
    monkeypatch.setattr(estimates, "available_bytes", lambda: free)
    monkeypatch.setattr(estimates, "whole_memory", lambda: whole or free)


def test_lengths_come_from_the_datasets_characters(session: Session, dataset: Dataset, model: Path) -> None:
    assert datasets.longest_pairs(dataset.id, session=session, limit=2) == [(92, 60, 90), (62, 60, 90)]
    assert len(datasets.longest_pairs(dataset.id, session=session, limit=9, most=2)) == 2
    config = config_for(model, per_device_train_batch_size=2)
    longest = [PairLength(31 + 32, 21, 31), PairLength(21 + 32, 21, 31)]
    assert forecast_memory(config, dataset.id).estimate == estimate_memory(read_shape(SIZES), config, longest)
    unknown = estimate_memory(read_shape(SIZES), config)
    assert forecast_memory(config, None).estimate == forecast_memory(config, 999).estimate == unknown


def test_where_a_models_sizes_are_found(
    settings: Settings, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_config(str(model), settings) == model / "config.json"
    assert find_config(str(tmp_path), settings) is None
    assert find_config("demo", settings) is None
    demo = settings.models_dir / "smollm2-135m-instruct"
    shutil.copytree(model, demo)
    assert find_config("demo", settings) == demo / "config.json"
    cached = tmp_path / "hub" / "models--someone--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    shutil.copytree(model, cached / "snapshots" / "abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert find_config("someone/model", settings) == cached / "snapshots" / "abc" / "config.json"
    for name in ("someone/else", "a/b/c/d", "\x00", "~nobody/x", " "):
        assert find_config(name, settings) is None


@pytest.mark.parametrize("text", ["{}", "[]", "{", "\udcff"])
def test_a_config_that_tells_nothing_gives_no_estimate(
    session: Session, dataset: Dataset, model: Path, text: str
) -> None:
    (model / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    forecast = forecast_memory(config_for(model), dataset.id)
    assert forecast.estimate is None
    assert forecast.fits
    assert "config.json" in forecast.missing


def test_a_model_that_is_not_here_is_told(session: Session, dataset: Dataset) -> None:
    forecast = forecast_memory(TrainConfig(model_name_or_path="someone/else"), dataset.id)
    assert forecast.estimate is None
    assert "the first run downloads it" in forecast.missing


@pytest.mark.usefixtures("own_workers")
def test_a_run_that_cannot_fit_is_refused_and_nothing_is_queued(
    session: Session, dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little(monkeypatch, 300 * MIB)
    values = config_for(model).model_dump(mode="json")
    with pytest.raises(Refused, match="300 MiB can be had") as caught:
        launch("twins", dataset.id, values)
    assert "Run anyway" in str(caught.value)
    assert runs.find(session=session) == []
    session.commit()
    assert len(launch("twins", dataset.id, {**values, "insist": True})) == 2


@pytest.mark.usefixtures("own_workers")
@pytest.mark.parametrize(
    ("field", "value", "package", "said"),
    [
        ("load_in_4bit", True, "bitsandbytes", "load_in_4bit needs the package bitsandbytes; run pip"),
        ("rollout", "vllm", "vllm", "rollout vllm needs the package vllm; install it as docs"),
    ],
)
def test_a_run_without_its_package_is_refused(
    session: Session,
    dataset: Dataset,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: bool | str,
    package: str,
    said: str,
) -> None:
    values = {**config_for(model).model_dump(mode="json"), field: value}
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(InvalidInput, match=said) as caught:
        launch("hypo", dataset.id, values)
    assert caught.value.field == field
    assert runs.find(session=session) == []


def test_a_model_that_4_bits_cannot_hold_is_refused(
    session: Session, dataset: Dataset, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "gpt2", architecture="gpt2")
    values = {**config_for(folder).model_dump(mode="json"), "load_in_4bit": True}
    with pytest.raises(InvalidInput, match="no linear layer that 4 bits can hold") as caught:
        launch("dpo", dataset.id, values)
    assert caught.value.field == "load_in_4bit"
    assert runs.find(session=session) == []


@pytest.mark.usefixtures("own_workers")
def test_a_run_that_fits_is_not_refused(
    session: Session, dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(model)
    estimate = forecast_memory(config, dataset.id).estimate
    assert estimate is not None
    little(monkeypatch, estimate.total)
    refuse_what_cannot_fit([config], dataset.id)
    little(monkeypatch, estimate.total - 1)
    forecast = forecast_memory(config, dataset.id)
    assert not forecast.fits
    assert all(knob.estimate.total < estimate.total for knob in forecast.knobs)


@pytest.mark.usefixtures("own_workers")
def test_while_other_runs_go_first_the_whole_machine_counts(
    session: Session, dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little(monkeypatch, MIB, 10_000 * MIB)
    assert not forecast_memory(config_for(model), dataset.id).fits
    runs.create(
        session=session, name="first", config=config_for(model).model_dump(mode="json"), dataset_id=dataset.id
    )
    session.commit()
    forecast = forecast_memory(config_for(model), dataset.id)
    assert (forecast.fits, forecast.waits, forecast.available) == (True, True, 10_000 * MIB)


def test_the_memory_of_another_machine_refuses_nothing(
    session: Session, dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little(monkeypatch, 1)
    forecast = forecast_memory(config_for(model), dataset.id)
    assert forecast.estimate is not None
    assert (forecast.available, forecast.fits) == (None, True)
    assert len(launch("dpo", dataset.id, config_for(model).model_dump(mode="json"))) == 1


@pytest.mark.parametrize("amx", [False, True])
def test_of_this_machines_processor_it_is_known_whether_it_multiplies_bfloat16(
    request: pytest.FixtureRequest,
    session: Session,
    dataset: Dataset,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    amx: bool,
) -> None:
    """One that does keeps gates in bfloat16. Of another machine's it is not known, so more is expected."""
    monkeypatch.setattr(estimates, "has_amx", lambda: amx)
    (model / "config.json").write_text(json.dumps(SIZES | {"model_type": "llama"}))
    config = config_for(model).model_copy(update={"precision": Precision.BFLOAT16})

    def activations() -> int:
        estimate = forecast_memory(config, dataset.id).estimate
        assert estimate is not None
        return estimate.activations

    elsewhere = activations()
    request.getfixturevalue("own_workers")
    assert (activations() < elsewhere) == amx


@pytest.mark.usefixtures("own_workers")
def test_a_worker_with_a_gpu_has_its_own_memory_and_bfloat16(
    session: Session, dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little(monkeypatch, 1)
    workers.beat("here:1:train", session=session, queues="train", device="Some GPU", has_gpu=True)
    session.commit()
    forecast = forecast_memory(config_for(model), dataset.id)
    assert (forecast.gpu, forecast.available, forecast.fits) == (True, None, True)
    assert forecast.estimate is not None
    assert forecast.estimate.weights == 2 * read_shape(SIZES).parameters
