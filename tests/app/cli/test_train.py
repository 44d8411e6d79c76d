"""`hypo train` as a process: its arguments to the engine, and the engine's status and output."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM

from tests.tiny_model import write_tiny_model

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("train")
    rows = [{"prompt": f"Question {i}", "chosen": "Paris.", "rejected": "No."} for i in range(6)]
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return {
        "model_name_or_path": str(write_tiny_model(folder / "model")),
        "method": "dpo",
        "lora_r": 2,
        "max_steps": 2,
        "dataset": str(folder / "pairs.jsonl"),
        "eval_fraction": 0.0,
        "models_dir": str(folder),
        "cache_dir": str(folder / "cache"),
    }


def hypo_train(path: Path, values: dict[str, Any], *flags: str) -> "subprocess.CompletedProcess[str]":
    config = path / "config.yaml"
    config.write_text(yaml.safe_dump({**values, "output_dir": str(path / "out")}))
    command = [sys.executable, "-c", "from app.cli import main; main()", "train", str(config), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def write_enormous_weights(folder: Path) -> None:
    """Write a sparse file with the header of a terabyte of weights."""
    config = AutoConfig.from_pretrained(
        folder, hidden_size=2**13, intermediate_size=2**16, num_hidden_layers=160
    )
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    header, end = {}, 0
    for name, weight in model.named_parameters():  # omits a tied head
        begin, end = end, end + 4 * weight.numel()
        header[name] = {"dtype": "F32", "shape": list(weight.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def test_it_trains(values: dict[str, Any], tmp_path: Path) -> None:
    done = hypo_train(tmp_path, values, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert (tmp_path / "out").is_dir()


def test_a_dry_run_leaves_no_output(values: dict[str, Any], tmp_path: Path) -> None:
    done = hypo_train(tmp_path, values, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measured_peak"] > 0
    assert not (tmp_path / "out").exists()


def test_the_engines_refusal_and_status_are_passed_on(values: dict[str, Any], tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    shutil.copytree(values["model_name_or_path"], huge)
    write_enormous_weights(huge)
    settings = {**values, "model_name_or_path": str(huge), "precision": "float32"}  # bfloat16 would help
    refused = hypo_train(tmp_path, settings, "--dry-run")
    assert refused.returncode == 1
    assert "What would help most: " in refused.stderr
    assert "Traceback" not in refused.stderr
    insisted = hypo_train(tmp_path, {**values, "beta": -1}, "--insist")
    assert insisted.returncode == 1
    assert insisted.stderr.startswith("beta must be")
