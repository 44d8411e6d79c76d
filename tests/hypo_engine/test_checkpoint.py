import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from hypo_engine.adapters import quiet_peft
from hypo_engine.checkpoint import (
    Counters,
    Fingerprint,
    _hash_files,
    latest_checkpoint,
    load_checkpoint,
    read_state,
    remove_checkpoint,
    save_checkpoint,
)
from hypo_engine.config import TrainConfig
from hypo_engine.errors import CheckpointError
from hypo_engine.models import load_tokenizer
from hypo_engine.policy import Policy, load_policy, make_optimizer
from hypo_engine.trunk import Joined

OURS = Fingerprint(config="c", data="d", model="m")
PROMPTS, ROWS, COMPLETIONS = [[5, 90, 33, 7], [60, 61]], [0, 1], [[44, 45], [70, 2]]


@pytest.fixture
def policy_of(tiny: Callable[[str], Path]) -> Callable[..., tuple[Policy, torch.optim.AdamW]]:
    def load(lora_r: int = 4, **changes: Any) -> tuple[Policy, torch.optim.AdamW]:
        config = TrainConfig(lora_r=lora_r, **changes)
        policy = load_policy(config, str(tiny("llama")), pad_id=0, device=torch.device("cpu"))
        return policy, make_optimizer(policy.parameters(), learning_rate=1e-2, weight_decay=0.0)

    return load


def train_a_little(policy: Policy, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        policy.encode(PROMPTS).score(ROWS, COMPLETIONS).sums().mean().neg().backward()
        optimizer.step()
        optimizer.zero_grad()


def save(policy: Policy, optimizer: torch.optim.Optimizer, tmp_path: Path, tiny: Any, step: int = 2) -> Path:
    tokenizer = load_tokenizer(str(tiny("llama")))
    return save_checkpoint(
        tmp_path / "run",
        policy=policy,
        tokenizer=tokenizer,
        optimizer=optimizer,
        counters=Counters(step, 99),
        fingerprint=OURS,
    )


@pytest.mark.parametrize("lora_r", [4, 0])
def test_weights_and_optimiser_come_back_exactly(
    policy_of: Any, tiny: Any, tmp_path: Path, lora_r: int
) -> None:
    policy, optimizer = policy_of(lora_r)
    train_a_little(policy, optimizer)
    path = save(policy, optimizer, tmp_path, tiny)
    other, other_optimizer = policy_of(lora_r, seed=7)
    counters = load_checkpoint(path, policy=other, optimizer=other_optimizer, fingerprint=OURS)
    assert counters == Counters(2, 99)
    for p, q in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    train_a_little(policy, optimizer, 1)
    train_a_little(other, other_optimizer, 1)
    for p, q in zip(policy.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)


def test_the_adapter_loads_with_peft_as_it_stands(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    policy, optimizer = policy_of()
    train_a_little(policy, optimizer)
    path = save(policy, optimizer, tmp_path, tiny)
    base = AutoModelForCausalLM.from_pretrained(tiny("llama"))
    with quiet_peft():
        loaded = PeftModel.from_pretrained(base, path / "adapter")
    with torch.no_grad():
        expected = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
        found = Joined(loaded, PROMPTS, pad_id=0).score(ROWS, COMPLETIONS).values
        before = Joined(base, PROMPTS, pad_id=0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    config = json.loads((path / "adapter" / "adapter_config.json").read_text())
    assert config["inference_mode"] is True
    assert (
        config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    )  # no path of this machine
    assert before is not None


def test_the_latest_is_the_one_with_most_steps(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "run") is None
    policy, optimizer = policy_of()
    for step in (9, 1_000_000, 20):
        save(policy, optimizer, tmp_path, tiny, step)
    (tmp_path / "run" / ".checkpoint-9999999-torn").mkdir()  # what a killed process leaves
    latest = latest_checkpoint(tmp_path / "run")
    assert latest is not None
    assert latest.name == "checkpoint-1000000"
    remove_checkpoint(latest)
    assert latest_checkpoint(tmp_path / "run").name == "checkpoint-000020"  # type: ignore[union-attr]
    remove_checkpoint(latest)  # gone already


def test_a_failed_save_leaves_the_one_before(
    policy_of: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(policy, optimizer, tmp_path, tiny)
    assert list((tmp_path / "run").iterdir()) == [path]
    read_state(path)


def lose(path: Path) -> None:
    (path / "adapter" / "adapter_config.json").unlink()


def change(path: Path) -> None:
    weights = path / "adapter" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def empty_state(path: Path) -> None:
    (path / "state.json").write_text("")


def strange_state(path: Path) -> None:
    (path / "state.json").write_text("[1, 2]")


@pytest.mark.parametrize("damage", [lose, change, empty_state, strange_state])
def test_a_damaged_checkpoint_is_refused(
    policy_of: Any, tiny: Any, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    damage(path)
    with pytest.raises(CheckpointError, match=r"checkpoint-000002 is damaged.*delete its folder"):
        load_checkpoint(path, policy=policy, optimizer=optimizer, fingerprint=OURS)


@pytest.mark.parametrize("what", ["config", "data", "model"])
def test_a_foreign_checkpoint_is_refused(policy_of: Any, tiny: Any, tmp_path: Path, what: str) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    theirs = Fingerprint(**({"config": "c", "data": "d", "model": "m"} | {what: "other"}))
    with pytest.raises(CheckpointError, match=f"another {what}"):
        load_checkpoint(path, policy=policy, optimizer=optimizer, fingerprint=theirs)


def test_a_pickle_in_the_optimisers_place_is_not_run(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    with (path / "optimizer.pt").open("wb") as file:
        pickle.dump(Harm(), file, protocol=2)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"files": dict(_hash_files(path))}))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path, policy=policy, optimizer=optimizer, fingerprint=OURS)
    assert not (tmp_path / "harm").exists()
