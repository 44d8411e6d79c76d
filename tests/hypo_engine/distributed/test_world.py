"""Two processes match one: losses, gradients, samples and weights, to 1e-5."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hypo_engine.distributed.world import World
from tests.hypo_engine.processes import (
    CLOSE,
    Planned,
    Seen,
    assert_close,
    assert_same_gradients,
    observe,
    torchrun,
    trained,
    weights,
)

PAIRS: list[tuple[Any, str, str]] = [
    (
        "Question: where is Paris? " * (3 * i % 5 + 1),
        f"The capital of France is Paris {i}." * (i % 2 + 1),
        "No. " * (i + 1),
    )
    for i in range(5)
]

Configure = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def configure(tiny: Callable[[str], Path]) -> Configure:
    """Fields of a small run; by default two pairs per process and step."""

    def make(**changes: Any) -> dict[str, Any]:
        fields = {
            "model_name_or_path": str(tiny("llama")),
            "method": "hypo",
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
        return fields | changes

    return make


RUNS = {
    "dpo": {"method": "dpo"},
    "hypo": {},
    "three": {"per_device_train_batch_size": 3},
    "live": {"precompute_ref_log_probs": False},
    "full": {"lora_r": 0, "learning_rate": 1e-4, "method": "dpo"},
    "ppo": {"method": "ppo", "reward": "length:-1", "critic_warmup": 0, "num_ppo_epochs": 2},
    "fine": {"lora_r": 0, "learning_rate": 1e-4, "kl_estimator": "reward_to_go", "num_generations": 3},
}
"""Five pairs: steps of four (2 + 2) and of one (1 + 0), or of five (3 + 2).
"""


@pytest.fixture(scope="module")
def runs(
    configure: Configure, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, list[Seen]], dict[str, Seen], Path]:
    """Every run of RUNS in two processes, and in one process that accumulates two batches instead."""
    folder = tmp_path_factory.mktemp("two")
    plan = [Planned(name, configure(**fields), PAIRS, eval_pairs=2) for name, fields in RUNS.items()]
    again = Planned("again", configure(**RUNS["hypo"]), PAIRS, eval_pairs=2)
    stopped = [
        Planned("yield", configure(), PAIRS, stop=(0, 1, "yield")),
        Planned("cancel", configure(), PAIRS, stop=(1, 1, "cancel")),
        Planned("in the middle", configure(), PAIRS, stop=(0, 2, "yield"), fail=(1, 2, "wait")),
        Planned("abandon", configure(save_steps=1), PAIRS, stop=(0, 1, "abandon")),
        Planned("broken", configure(), PAIRS, fail=(1, 2, "error")),
        Planned("full memory", configure(), PAIRS, fail=(1, 0, "memory")),
    ]
    two = trained([*plan, again, *stopped], folder)
    one = {}
    for planned in plan:
        config = planned.config | {"gradient_accumulation_steps": 2}
        one[planned.name] = observe(Planned(planned.name, config, PAIRS, eval_pairs=2), folder / "one")
    return two, one, folder


@pytest.mark.parametrize("name", list(RUNS))
def test_two_processes_do_what_one_does(runs: Any, name: str) -> None:
    two, one, _ = runs
    main, other = two[name]
    expected = one[name]
    assert (main.error, other.error, expected.error) == ("", "", "")
    assert main.values.keys() == expected.values.keys() == {0, 1, 2, 3}
    for step in (1, 2, 3):
        for metric in ("loss", "loss/dpo", "grad_norm", "logps/chosen", "rewards/margins", "num_tokens"):
            if metric.startswith(("loss/dpo", "logps", "rewards")) and name == "ppo":
                continue  # it reads the prompts of the pairs only
            value = expected.values[step][metric]
            assert main.values[step][metric] == pytest.approx(value, rel=CLOSE, abs=2e-5), (step, metric)
    assert_same_gradients(main, expected)
    assert_same_gradients(other, main, 0.0)


@pytest.mark.parametrize("name", list(RUNS))
def test_the_weights_are_the_same_too(runs: Any, name: str) -> None:
    two, one, _ = runs
    found, expected = weights(two[name][0]), weights(one[name])
    assert found.keys() == expected.keys()
    for tensor in found:
        assert_close(found[tensor], expected[tensor], 1e-4)  # Adam amplifies the last digits


def test_the_main_process_speaks_for_all(runs: Any) -> None:
    two, one, _ = runs
    main, other = two["hypo"]
    assert (other.values, other.rows, other.checkpoints, other.phases) == ({}, [], [], 0)
    assert len(main.checkpoints) == 1
    key = lambda row: (row["step"], row["kind"], row["seed"])  # noqa: E731
    found, expected = sorted(main.rows, key=key), sorted(one["hypo"].rows, key=key)
    assert [key(row) for row in found] == [key(row) for row in expected]
    assert [row["text"] for row in found] == [row["text"] for row in expected]
    assert {row["kind"] for row in found} == {"online", "eval", "probe"}


def test_work_is_dealt_evenly(runs: Any) -> None:
    two, _, _ = runs
    assert [seen.sizes for seen in two["three"]] == [[3, 3, 3], [2, 2, 2]]
    assert [seen.sizes for seen in two["hypo"]] == [[2, 1, 2], [2, 2]]


def test_two_processes_twice_are_the_same_bits(runs: Any) -> None:
    two, _, _ = runs
    (first, _), (again, _) = two["hypo"], two["again"]
    assert first.values == again.values
    assert first.rows == again.rows
    found, expected = weights(first), weights(again)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("wish", ["yield", "cancel"])
def test_all_end_when_one_is_asked_to(runs: Any, wish: str) -> None:
    main, other = runs[0][wish]
    assert main.error == other.error == f"Interrupted: The run stopped on request: {wish}."
    assert [step for step, _ in main.checkpoints] == [1]


def test_a_process_in_the_middle_of_its_work_hears_that_another_stops(runs: Any) -> None:
    main, other = runs[0]["in the middle"]
    assert main.error == other.error == "Interrupted: The run stopped on request: yield."
    assert [step for step, _ in main.checkpoints] == [2]


def test_an_abandoned_run_writes_nothing_more(runs: Any) -> None:
    main, other = runs[0]["abandon"]
    assert main.error == other.error == "Interrupted: The run stopped on request: abandon."
    assert main.checkpoints == []


def test_all_end_when_one_fails(runs: Any) -> None:
    main, other = runs[0]["broken"]
    assert main.error == "EngineError: ValueError: a broken part"
    assert other.error == "ValueError: a broken part"
    assert len(main.gradients) == len(other.gradients) == 2


def test_a_full_memory_in_one_process_halves_the_micro_batch_in_all(runs: Any) -> None:
    two, _, _ = runs
    main, other = two["full memory"]
    assert (main.error, other.error) == ("", "")
    assert [seen.sizes for seen in (main, other)] == [[2, 1, 1, 1, 1, 1], [2, 1, 1, 1, 1]]
    assert any("1 pairs at once instead of 2" in message for message in main.messages)
    for step in (1, 2, 3):
        expected = two["hypo"][0].values[step]
        assert main.values[step]["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert main.values[step]["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)


def test_a_run_goes_on_in_another_number_of_processes(runs: Any, configure: Configure) -> None:
    _, one, folder = runs
    config = configure(gradient_accumulation_steps=2)
    rest = observe(Planned("rest", config, PAIRS, output="yield"), folder)
    assert not rest.error
    assert "info: Continuing from step 1." in rest.messages
    assert set(rest.values) == {2, 3}
    for step in (2, 3):
        expected = one["hypo"].values[step]
        assert rest.values[step]["loss"] == pytest.approx(expected["loss"], rel=CLOSE, abs=2e-5)
        assert rest.values[step]["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
    other = observe(Planned("other", configure(), PAIRS, output="cancel"), folder)
    assert other.error.startswith("CheckpointError: ")  # half the pairs per step is a different run


@pytest.fixture
def yaml_file(configure: Configure, tmp_path: Path) -> Callable[..., Path]:
    rows = [dict(zip(("prompt", "chosen", "rejected"), pair, strict=True)) for pair in PAIRS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    places = {"dataset": "pairs.jsonl", "output_dir": "out", "models_dir": "models", "cache_dir": "cache"}

    def write(**changes: Any) -> Path:
        values = configure(**changes) | {name: str(tmp_path / place) for name, place in places.items()}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values | {"eval_fraction": 0.0}))
        return path

    return write


def test_torchrun_trains_from_a_file(yaml_file: Callable[..., Path], tmp_path: Path) -> None:
    process = torchrun(["-m", "hypo_engine", str(yaml_file(method="dpo"))])
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert output.count("5 pairs to train on") == 1
    assert output.count("3 steps: ") == 1
    assert (tmp_path / "out" / "checkpoint-000003" / "adapter" / "adapter_model.safetensors").exists()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_all_end_on_sigterm_with_a_checkpoint(yaml_file: Callable[..., Path], tmp_path: Path) -> None:
    process = torchrun(["-m", "hypo_engine", str(yaml_file(max_steps=100_000))])
    metrics = tmp_path / "out" / "metrics.jsonl"
    try:
        until = time.monotonic() + 200
        while not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
            assert time.monotonic() < until
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        workers = children(process.pid)
        assert len(workers) >= 2
        assert all(map(alive, workers))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert not any(map(alive, workers))
    assert output.count("Stopped by SIGTERM. The run is kept in ") == 1, output[-3000:]
    (checkpoint,) = (tmp_path / "out").glob("checkpoint-*")
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert checkpoint.name == f"checkpoint-{max(steps):06d}"


def test_a_world_of_one_is_nothing_special() -> None:
    world = World()
    parameter = torch.nn.Parameter(torch.ones(2))
    world.sum_gradients([parameter])
    assert parameter.grad is None
    assert world.main
    assert world.gather("x") == ["x"]
    with pytest.raises(ValueError, match="own"), world.synchronized():
        raise ValueError("own")
