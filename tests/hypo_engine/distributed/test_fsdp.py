"""A model sharded across processes gives the same gradients, samples and checkpoints as a whole one."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import ConfigError
from hypo_engine.training.loop import train
from tests.hypo_engine.processes import (
    CLOSE,
    Planned,
    Seen,
    assert_close,
    assert_same_gradients,
    observe,
    trained,
    weights,
)

PAIRS: list[tuple[Any, str, str]] = [
    ("Where is Paris? " * (2 * i % 5 + 1), f"The capital of France is Paris {i}.", "No. " * (i + 1))
    for i in range(5)
]

RUNS = {
    "lora": {},
    "full": {"lora_r": 0, "learning_rate": 1e-4},
    "full, live": {"lora_r": 0, "learning_rate": 1e-4, "method": "dpo", "precompute_ref_log_probs": False},
    "uneven": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 3},
    "checkpointed": {"gradient_checkpointing": True, "method": "dpo"},
}
"""Five pairs: steps of four (2 + 2) and of one (1 + 0); `uneven` has steps of five (3 + 2 batches).
"""


@pytest.fixture(scope="module")
def fields(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small run on a model that ends responses early, so that the processes' responses differ in length."""
    folder = Path(copytree(tiny("llama"), tmp_path_factory.mktemp("model") / "llama"))
    generation = folder / "generation_config.json"
    often = json.loads(generation.read_text()) | {"eos_token_id": list(range(0, 384, 12))}
    generation.write_text(json.dumps(often))
    return {
        "model_name_or_path": str(folder),
        "max_steps": 3,
        "precision": "float32",
        "lora_r": 4,
        "learning_rate": 1e-4,
        "per_device_train_batch_size": 2,
        "max_prompt_length": 200,
        "max_completion_length": 40,
        "kl_coef": 0.01,
        "warmup_ratio": 0.0,
        "eval_prompts": 2,
        "probe_prompts": 1,
    }


def alone(changes: dict[str, Any]) -> dict[str, Any]:
    """Fields with which one process does the same step as two."""
    return changes | {"gradient_accumulation_steps": 2 * changes.get("gradient_accumulation_steps", 1)}


@pytest.fixture(scope="module")
def runs(
    fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, list[Seen]], dict[str, Seen], Path]:
    """Every run of RUNS in two sharded processes and in a single process, with partial runs of both."""
    folder = tmp_path_factory.mktemp("shards")
    one = {
        name: observe(Planned(name, fields | alone(changes), PAIRS, eval_pairs=2, plain=True), folder / "one")
        for name, changes in RUNS.items()
    }
    plan = []
    for name, changes in RUNS.items():
        config = fields | changes | {"sharding": "fsdp"}
        plan.append(Planned(name, config, PAIRS, eval_pairs=2))
        if name not in ("lora", "full"):
            continue
        observe(Planned(f"{name}-whole", fields | alone(changes), PAIRS, stop=(0, 1, "yield")), folder)
        plan += [
            Planned(f"{name}-part", config, PAIRS, stop=(0, 1, "yield")),
            Planned(f"{name}-again", config, PAIRS, stop=(0, 1, "yield")),
            Planned(f"{name}-rest", config, PAIRS, output=f"{name}-again"),
            Planned(f"{name}-cut", config, PAIRS, output=f"{name}-whole"),
        ]
    return trained(plan, folder), one, folder


@pytest.mark.parametrize("name", list(RUNS))
def test_shards_do_what_the_whole_does(runs: Any, name: str) -> None:
    two, one, _ = runs
    main, other = two[name]
    expected = one[name]
    assert (main.error, other.error, expected.error) == ("", "", "")
    assert main.values.keys() == expected.values.keys() == {0, 1, 2, 3}
    for step in (1, 2, 3):
        for metric in ("loss", "grad_norm", "logps/chosen", "rewards/margins"):
            value = expected.values[step][metric]
            assert main.values[step][metric] == pytest.approx(value, rel=CLOSE, abs=2e-5), (step, metric)
    assert_same_gradients(main, expected)
    assert_same_gradients(other, main, 0.0)
    lengths = [row["tokens"] for row in main.rows if row["kind"] == "online"]
    assert len(set(lengths)) > 3 or not lengths
    key = lambda row: (row["step"], row["kind"], row["seed"])  # noqa: E731
    assert [(key(row), row["text"]) for row in sorted(main.rows, key=key)] == [
        (key(row), row["text"]) for row in sorted(expected.rows, key=key)
    ]


@pytest.mark.parametrize("name", list(RUNS))
def test_no_process_holds_the_whole_model(runs: Any, name: str) -> None:
    two, one, _ = runs
    whole, adapter = one[name].held, sum(tensor.numel() for tensor in one[name].gradients[0])
    base = whole - adapter if "full" not in name else whole
    held = [seen.held for seen in two[name]]
    assert max(held) < 0.6 * base + (whole - base)
    assert sum(held) == base + 2 * (whole - base)


@pytest.mark.parametrize("name", list(RUNS))
def test_checkpoints_are_whole(runs: Any, name: str) -> None:
    two, one, _ = runs
    found, expected = weights(two[name][0]), weights(one[name])
    assert found.keys() == expected.keys()
    for tensor in found:
        assert_close(found[tensor], expected[tensor], 1e-4)  # Adam amplifies the last digits


@pytest.mark.parametrize("name", ["lora", "full"])
def test_a_stopped_run_goes_on_in_shards_bit_for_bit(runs: Any, name: str) -> None:
    two, _, _ = runs
    main, _ = two[f"{name}-rest"]
    assert not main.error
    assert set(main.values) == {2, 3}
    assert main.values[3]["loss"] == two[name][0].values[3]["loss"]
    found, expected = weights(main), weights(two[name][0])
    assert all(torch.equal(found[tensor], expected[tensor]) for tensor in expected)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_a_whole_run_goes_on_in_shards_and_shards_go_on_whole(
    runs: Any, fields: dict[str, Any], name: str
) -> None:
    two, one, folder = runs
    whole = observe(Planned(f"{name}-all", fields | alone(RUNS[name]), PAIRS, output=f"{name}-part"), folder)
    for seen in (two[f"{name}-cut"][0], whole):
        assert not seen.error
        assert set(seen.values) == {2, 3}
        assert seen.values[3]["loss"] == pytest.approx(one[name].values[3]["loss"], rel=1e-4)
        found, expected = weights(seen), weights(one[name])
        for tensor in expected:
            assert_close(found[tensor], expected[tensor], 1e-4)


def test_one_process_has_nobody_to_share_with(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set sharding to none"):
        train(
            TrainConfig(**fields, sharding="fsdp"),
            [Pair(*PAIRS[0])],
            output_dir=tmp_path,
            models_dir=tmp_path,
        )
