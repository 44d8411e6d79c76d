import errno
import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from hypo_engine.config import TrainConfig
from hypo_engine.data.token_pairs import TokenPair, TokenPairs
from hypo_engine.errors import CheckpointError, EngineError
from hypo_engine.models.adapters import quiet_peft
from hypo_engine.models.load import load_tokenizer
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.reference.scores import ReferenceCache, reference_key
from hypo_engine.training.checkpoint import (
    Counters,
    DamagedCheckpoint,
    _hash_files,
    _state_hash,
    checkpoints,
    keep_last_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    read_state,
    remove_checkpoint,
    save_checkpoint,
)
from hypo_engine.training.fingerprint import Fingerprint, data_key, differences
from hypo_engine.training.metrics import StepMetrics
from hypo_engine.training.optimizer import make_optimizer

FACTS: dict[str, Any] = {"config": {"beta": 0.1, "seed": 0}, "pairs": 10, "data": "d", "model": "m"}
OURS = Fingerprint(**FACTS, arithmetic="cpu")
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


def save(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    tmp_path: Path,
    tiny: Any,
    step: int = 2,
    reference: ReferenceCache | None = None,
) -> Path:
    tokenizer = load_tokenizer(str(tiny("llama")))
    return save_checkpoint(
        tmp_path / "run",
        policy=policy,
        tokenizer=tokenizer,
        optimizer=optimizer,
        reference=reference,
        counters=Counters(step, 99),
        fingerprint=OURS,
    )


def load(
    path: Path,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    fingerprint: Fingerprint = OURS,
    reference: ReferenceCache | None = None,
) -> Counters:
    return load_checkpoint(
        path, policy=policy, optimizer=optimizer, reference=reference, fingerprint=fingerprint
    )


@pytest.mark.parametrize("lora_r", [4, 0])
def test_weights_and_optimiser_come_back_exactly(
    policy_of: Any, tiny: Any, tmp_path: Path, lora_r: int
) -> None:
    policy, optimizer = policy_of(lora_r)
    train_a_little(policy, optimizer)
    path = save(policy, optimizer, tmp_path, tiny)
    other, other_optimizer = policy_of(lora_r, seed=7)
    counters = load(path, other, other_optimizer)
    assert (counters.step, counters.num_tokens) == (2, 99)
    for p, q in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    train_a_little(policy, optimizer, 1)
    train_a_little(other, other_optimizer, 1)
    for p, q in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.exact
def test_the_adapter_loads_with_peft_as_it_stands(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    policy, optimizer = policy_of()
    train_a_little(policy, optimizer)
    path = save(policy, optimizer, tmp_path, tiny)
    base = AutoModelForCausalLM.from_pretrained(tiny("llama"))
    with quiet_peft():
        loaded = PeftModel.from_pretrained(base, path / "adapter")
    with torch.no_grad():
        expected = policy.encode(PROMPTS).score(ROWS, COMPLETIONS).values
        found = SeparateSequences(loaded, PROMPTS, pad_id=0).score(ROWS, COMPLETIONS).values
        before = SeparateSequences(base, PROMPTS, pad_id=0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    config = json.loads((path / "adapter" / "adapter_config.json").read_text())
    assert config["inference_mode"] is True
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"  # not a local path
    assert before is not None


def test_the_latest_is_the_one_with_most_steps(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "run") is None
    policy, optimizer = policy_of()
    for step in (9, 1_000_000, 20):
        save(policy, optimizer, tmp_path, tiny, step)
    (tmp_path / "run" / ".checkpoint-9999999-torn").mkdir()  # left by a killed process
    latest = latest_checkpoint(tmp_path / "run")
    assert latest is not None
    assert latest.name == "checkpoint-1000000"
    remove_checkpoint(latest)
    assert latest_checkpoint(tmp_path / "run").name == "checkpoint-000020"  # type: ignore[union-attr]
    remove_checkpoint(latest)  # already deleted: a no-op


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


def cut(path: Path) -> None:
    with (path / "optimizer.pt").open("r+b") as file:
        file.truncate(100)


def add(path: Path) -> None:
    (path / "adapter" / "more.safetensors").write_bytes(b"")


def empty_state(path: Path) -> None:
    (path / "state.json").write_text("")


def strange_state(path: Path) -> None:
    (path / "state.json").write_text("[1, 2]")


def change_state(path: Path) -> None:
    state = (path / "state.json").read_text()
    (path / "state.json").write_text(state.replace('"num_tokens": 99', '"num_tokens": 98'))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lose, "adapter/adapter_config.json is missing"),
        (change, "adapter/adapter_model.safetensors is not the file that was written"),
        (cut, "optimizer.pt is not the file that was written"),
        (add, "adapter/more.safetensors was added to it"),
        (empty_state, "its state.json cannot be read"),
        (strange_state, "its state.json cannot be read"),
        (change_state, "its state.json is not the one that was written"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(
    policy_of: Any, tiny: Any, tmp_path: Path, damage: Callable[[Path], None], what: str
) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    damage(path)
    with pytest.raises(DamagedCheckpoint, match=f"checkpoint-000002 is damaged: {what}"):
        load(path, policy, optimizer)


def test_a_renamed_checkpoint_is_refused(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    renamed = path.rename(path.with_name("checkpoint-000030"))
    with pytest.raises(DamagedCheckpoint, match="checkpoint-000030 is damaged: it is of step 2"):
        load(renamed, policy, optimizer)


def test_a_checkpoint_of_another_format_is_refused(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    old = {
        "format": 1,
        "counters": {"step": 2, "num_tokens": 99},
        "fingerprint": {"config": "c"},
        "files": {},
    }
    (path / "state.json").write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match="is of format 1 and this version reads format 2") as refused:
        load(path, policy, optimizer)
    assert not isinstance(refused.value, DamagedCheckpoint)  # no fallback to the previous one


@pytest.mark.parametrize(
    ("other", "theirs", "ours"),
    [
        ({"config": {"beta": 0.2, "seed": 0}}, "beta 0.1", "beta 0.2"),
        ({"config": {"beta": 0.2, "seed": 1}}, "beta 0.1, seed 0", "beta 0.2, seed 1"),
        ({"config": {"beta": 0.1, "seed": 0, "new": True}}, "no new", "new True"),
        ({"pairs": 9, "data": "e" * 64}, "pairs 10, data d", f"pairs 9, data {'e' * 59}…"),
        ({"model": "n"}, "model m", "model n"),
        ({"arithmetic": "cuda"}, "arithmetic cpu", "arithmetic cuda"),
    ],
)
def test_a_foreign_checkpoint_is_refused_with_what_differs(
    policy_of: Any, tiny: Any, tmp_path: Path, other: dict[str, Any], theirs: str, ours: str
) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    this_run = Fingerprint(**(FACTS | {"arithmetic": "cpu"} | other))
    with pytest.raises(CheckpointError) as refused:
        load(path, policy, optimizer, this_run)
    assert str(refused.value).startswith(
        f"checkpoint-000002 was made with {theirs}; this run has {ours}: give this run an output folder"
    )
    assert all(torch.equal(p, q) for p, q in zip(before, policy.parameters(), strict=True))


def test_other_weights_are_other_data_and_none_are_what_they_were() -> None:
    def key(weight: float = 1.0, margin: float = 0.0) -> str:
        return data_key(TokenPairs([TokenPair(0, [5], [6, 2], [7, 2], weight, margin)]))

    plain = reference_key("", "", [TokenPair(0, [5], [6, 2], [7, 2])])
    assert key() == plain
    assert len({key(), key(2.0), key(3.0), key(2.0, 0.5), key(1.0, 2.0)}) == 5


def test_differences_of_nothing_are_none() -> None:
    assert differences(OURS.facts(), json.loads(json.dumps(OURS.facts()))) is None


def cache_of(*rows: tuple[float, float]) -> ReferenceCache:
    cache = ReferenceCache(None, "key", len(rows))
    cache.values = torch.tensor(rows)
    return cache


NAN = float("nan")


def test_the_reference_comes_back_and_what_is_known_otherwise_is_refused(
    policy_of: Any, tiny: Any, tmp_path: Path
) -> None:
    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny, reference=cache_of((-1.5, -2.5), (-3.5, -4.5), (NAN, NAN)))
    empty = cache_of(*[(NAN, NAN)] * 3)
    load(path, policy, optimizer, reference=empty)
    assert empty.values[:2].tolist() == [[-1.5, -2.5], [-3.5, -4.5]]
    assert empty.missing(range(3)) == [2]
    more = cache_of((NAN, NAN), (-3.5, -4.5), (-5.0, -6.0))
    load(path, policy, optimizer, reference=more)
    assert more.values.tolist() == [[-1.5, -2.5], [-3.5, -4.5], [-5.0, -6.0]]
    next_float = torch.nextafter(torch.tensor(-4.5), torch.tensor(0.0)).item()
    changed = cache_of((-1.5, -2.5), (-3.5, next_float), (NAN, NAN))
    with pytest.raises(
        CheckpointError, match=r"other reference log-probabilities for 1 of 3 pairs \(pair 1: -3.5, -4.5; the"
    ) as refused:
        load(path, policy, optimizer, reference=changed)
    assert "clear the reference cache" in str(refused.value)
    assert not isinstance(refused.value, DamagedCheckpoint)


def test_what_was_measured_comes_back_exactly(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    policy, optimizer = policy_of()
    window = StepMetrics()
    window.add({"loss": 1 / 3, "num_tokens": 7.0}, weight=3)
    counters = Counters(3, 99, micro_batch=2, window=window, metrics={"eval_objective/kl": 0.1 + 0.2})
    path = save_checkpoint(
        tmp_path / "run",
        policy=policy,
        tokenizer=load_tokenizer(str(tiny("llama"))),
        optimizer=optimizer,
        reference=None,
        counters=counters,
        fingerprint=OURS,
    )
    found = load(path, policy, optimizer)
    for metrics in (window, found.window):
        metrics.add({"loss": 0.7, "num_tokens": 9.0}, weight=4)
    assert found.window.means() == window.means()
    assert (found.step, found.num_tokens, found.micro_batch, found.metrics) == (3, 99, 2, counters.metrics)


def test_the_last_checkpoints_are_kept(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    policy, optimizer = policy_of()
    for step in (5, 9, 20, 30):
        save(policy, optimizer, tmp_path, tiny, step)
    keep_last_checkpoints(tmp_path / "run" / "checkpoint-000025", 1)  # missing: deletes nothing
    keep_last_checkpoints(tmp_path / "run" / "checkpoint-000030", 2)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-000030", "checkpoint-000020"]


def test_saving_sweeps_what_a_killed_process_left(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "run" / ".checkpoint-000001-torn" / "adapter").mkdir(parents=True)
    (tmp_path / "run" / "notes").mkdir()
    path = save(*policy_of(), tmp_path, tiny)
    assert sorted((tmp_path / "run").iterdir()) == [path, tmp_path / "run" / "notes"]


def test_files_and_folders_are_on_disk_before_and_after_the_rename(
    policy_of: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of flushes: every file and folder, the rename, the parent's directory entry."""
    done: list[int] = []
    fsync, rename = os.fsync, Path.rename

    def flush(descriptor: int) -> None:
        done.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def move(path: Path, target: Path) -> Path:
        done.append(0)
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "rename", move)
    path = save(*policy_of(), tmp_path, tiny)
    before, after = done[: done.index(0)], done[done.index(0) + 1 :]
    assert {file.stat().st_ino for file in (path, *path.rglob("*"))} <= set(before)
    assert [path.parent.stat().st_ino, tmp_path.stat().st_ino] == after[-2:]


@pytest.mark.parametrize(("code", "raised"), [(errno.EINVAL, None), (errno.ENOSPC, EngineError)])
def test_a_file_system_without_fsync_of_folders(
    policy_of: Any,
    tiny: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    raised: type[Exception] | None,
) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, "no")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    if raised is None:
        read_state(save(*policy_of(), tmp_path, tiny))
    else:
        with pytest.raises(raised, match="The disk is full"):
            save(*policy_of(), tmp_path, tiny)
        assert checkpoints(tmp_path / "run") == []


def test_a_pickle_in_the_optimisers_place_is_not_run(policy_of: Any, tiny: Any, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    policy, optimizer = policy_of()
    path = save(policy, optimizer, tmp_path, tiny)
    with (path / "optimizer.pt").open("wb") as file:
        pickle.dump(Harm(), file, protocol=2)
    state = json.loads((path / "state.json").read_text())
    del state["sha256"]
    state["files"] = _hash_files(path)
    (path / "state.json").write_text(json.dumps(state | {"sha256": _state_hash(state)}))
    with pytest.raises(DamagedCheckpoint, match="cannot be read"):
        load(path, policy, optimizer)
    assert not (tmp_path / "harm").exists()
