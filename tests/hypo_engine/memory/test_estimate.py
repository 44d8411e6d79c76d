"""Memory estimates: countable parts are exact, the rest grows and shrinks as expected."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hypo_engine.config import Method, Precision, RolloutEngine, Sharding, TrainConfig
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.errors import ModelError
from hypo_engine.forward.four_bit import is_four_bit
from hypo_engine.forward.grouped_lora import GroupedLora
from hypo_engine.memory.estimate import GIB, Coefficients, PairLength, estimate_memory, format_bytes, heaviest
from hypo_engine.memory.knobs import helpful_knobs, refusal
from hypo_engine.memory.machine import available_bytes, has_amx, whole_memory
from hypo_engine.memory.shape import ModelShape, read_shape
from hypo_engine.models.adapters import attach_lora
from hypo_engine.models.load import load_model
from hypo_engine.models.policy import load_policy
from hypo_engine.prompts.encoder import Encode, PromptEncoder
from tests.tiny_model import ARCHITECTURES

SHAPE = ModelShape(
    family="llama",
    hidden=64,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=16,
    intermediate=160,
    vocab=1000,
    tied=True,
    gated=True,
)
DPO = TrainConfig(method=Method.DPO, per_device_train_batch_size=2, eval_prompts=0)
HYPO = DPO.model_copy(update={"method": Method.HYPO})


def changed(config: TrainConfig, **changes: Any) -> TrainConfig:
    return config.model_copy(update=changes)


def test_the_bytes_of_4_bit_weights_are_counted(tiny: Callable[[str], Path]) -> None:
    folder = tiny("llama_untied")
    values = json.loads((folder / "config.json").read_text())
    shape = read_shape(values)
    config = TrainConfig(lora_r=4, load_in_4bit=True, precision=Precision.FLOAT32)
    policy = load_policy(config, str(folder), pad_id=0, device=torch.device("cpu"))
    packed = [layer for layer in policy.model.modules() if is_four_bit(layer)]
    states = [layer.weight.quant_state for layer in packed]
    bytes_of = [
        layer.weight.numel() + state.absmax.numel() for layer, state in zip(packed, states, strict=True)
    ]
    # a scale for 256 blocks is more for these tiny matrices than the estimate's share of it
    bytes_of += [4 * state.shape.numel() // (64 * 256) for state in states]
    others = sum(4 * p.numel() for p in policy.model.parameters() if p.dtype == torch.float32)
    others -= sum(4 * p.numel() for p in policy.parameters())
    expanded = (4 + 1 / 16) * shape.largest_matrix
    found = estimate_memory(shape, config)
    assert found.weights == pytest.approx(sum(bytes_of) + others + expanded, abs=len(packed))
    assert found.loading == 4 * shape.parameters
    assert read_shape(values | {"dtype": "bfloat16"}).stored == 2
    on_gpu = estimate_memory(shape, config.model_copy(update={"precision": Precision.AUTO}), gpu=True)
    assert on_gpu.loading == 0
    assert on_gpu.weights < 0.8 * estimate_memory(shape, TrainConfig(lora_r=4), gpu=True).weights


def test_experts_and_transposed_matrices_stay_as_they_are() -> None:
    mixture = read_shape(
        {"model_type": "mixtral", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "vocab_size": 100, "intermediate_size": 32, "num_local_experts": 8}
    )  # fmt: skip
    assert mixture.four_bit_parameters == 2 * 4 * 64 * 64
    assert ModelShape(**{**asdict(SHAPE), "family": "gpt2"}).four_bit_parameters == 0


def test_reading_a_model_counts_where_it_takes_more_than_training() -> None:
    large = ModelShape(**{**asdict(SHAPE), "hidden": 2048, "intermediate": 8192, "layers": 16})
    config = changed(DPO, load_in_4bit=True, max_prompt_length=8, max_completion_length=8)
    found = estimate_memory(large, config)
    assert found.at_once() == {
        "weights": found.weights, "process": found.process, "loading": 4 * large.parameters
    }  # fmt: skip
    assert found.total == sum(found.at_once().values())
    assert "loading" not in estimate_memory(large, config, gpu=True).at_once()
    stored = ModelShape(**asdict(large) | {"stored": 2})
    read = [
        estimate_memory(stored, changed(config, **changes)).loading / large.parameters
        for changes in ({}, {"model_name_or_path": "run:7"}, {"method": Method.REWARD})
    ]
    assert read == [2, 4, 4]  # merged in float32, and written in float32
    tight = found.total // 3
    assert {"load_in_4bit": True} in [
        dict(knob.changes)
        for knob in helpful_knobs(large, changed(config, load_in_4bit=False), available=tight, gpu=True)
    ]
    sharded = changed(config, load_in_4bit=False, sharding=Sharding.FSDP)
    knobs = helpful_knobs(large, sharded, available=tight, gpu=True)
    assert not any("load_in_4bit" in knob.changes for knob in knobs), "which sharding refuses"


def test_vllm_holds_a_second_model_and_the_rows_of_a_step() -> None:
    own = changed(HYPO, precision=Precision.FLOAT32)
    with_vllm = changed(own, rollout=RolloutEngine.VLLM)
    before, found = estimate_memory(SHAPE, own), estimate_memory(SHAPE, with_vllm)
    assert (before.rollout, estimate_memory(SHAPE, changed(with_vllm, method=Method.DPO)).rollout) == (0, 0)
    rows = own.per_device_train_batch_size * own.num_generations
    cache = (rows * 12 + 1) * 64 * 2 * 2 * 16 * 3 * 4  # 768 tokens are 12 blocks of 64
    assert found.rollout == 4 * SHAPE.parameters + cache + Coefficients().vllm_process
    assert (before.kv_cache > 0, found.kv_cache) == (True, 0)
    assert found.weights < before.weights  # no merged copy for the engine's decoder
    assert "rollout" in found.at_once()
    on_gpu = estimate_memory(SHAPE, changed(with_vllm, precision=Precision.AUTO), gpu=True)
    assert on_gpu.rollout == 2 * SHAPE.parameters + cache // 2
    most, more = (changed(with_vllm, per_device_train_batch_size=size) for size in (128, 1000))
    assert estimate_memory(SHAPE, most).rollout == estimate_memory(SHAPE, more).rollout > found.rollout
    knobs = helpful_knobs(SHAPE, with_vllm, available=before.total)
    assert {"rollout": RolloutEngine.ENGINE} in [dict(knob.changes) for knob in knobs]


NAMED = {"gpt2": "c_proj", "gpt_neox": "dense,dense_h_to_4h"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_shape_counts_every_matrix(tiny: Callable[[str], Path], architecture: str) -> None:
    folder = tiny(architecture)
    shape = read_shape(json.loads((folder / "config.json").read_text()))
    for target in ("all-linear", NAMED.get(architecture, "q_proj,down_proj")):
        config = TrainConfig(lora_r=4, lora_target_modules=target)
        policy = load_policy(config, str(folder), pad_id=0, device=torch.device("cpu"))
        numbers, sides = shape.adapted(target)
        assert 4 * sides == sum(p.numel() for p in policy.parameters())
        layers = [m.base_layer.weight.numel() for m in policy.model.modules() if hasattr(m, "base_layer")]
        assert numbers == sum(layers)
    matrices = sum(p.numel() for p in policy.model.parameters() if p.dim() > 1 and not p.requires_grad)
    assert shape.parameters - (2 * shape.layers + 1) * shape.hidden == matrices


def test_what_is_trained_and_kept_is_counted_exactly() -> None:
    trained = SHAPE.adapted("all-linear")[1] * 16
    lora = estimate_memory(SHAPE, DPO)
    assert (lora.adapter, lora.gradients, lora.optimiser) == (4 * trained, 4 * trained, 8 * trained)
    assert lora.weights == 4 * SHAPE.parameters
    online = estimate_memory(SHAPE, HYPO)
    assert online.weights == 4 * (SHAPE.parameters + SHAPE.linear_parameters)  # plus a merged copy
    half = estimate_memory(SHAPE, changed(DPO, precision=Precision.BFLOAT16))
    assert half.weights == 2 * SHAPE.parameters
    assert half.adapter == lora.adapter
    assert estimate_memory(SHAPE, DPO, gpu=True).weights == half.weights
    full = estimate_memory(SHAPE, changed(DPO, lora_r=0))
    assert (full.weights, full.adapter) == (8 * SHAPE.parameters, 0)
    assert (full.gradients, full.optimiser) == (4 * SHAPE.parameters, 8 * SHAPE.parameters)


def test_the_heaviest_batch_is_that_of_the_longest_pairs() -> None:
    config = changed(HYPO, max_prompt_length=50, max_completion_length=30, num_generations=3)
    pairs = [
        PairLength(10, 5, 6),
        PairLength(99, 7, 8),  # trimmed on the left
        PairLength(20, 30, 30),
        PairLength(10, 99, 1),  # over the limit: left out
    ]
    load = heaviest(config, pairs)
    assert (load.pairs, load.prompts, load.answers, load.sampled) == (2, 70, 75, 2 * 3 * 30)
    load = heaviest(config, None)
    assert (load.pairs, load.prompts, load.answers, load.sampled) == (2, 100, 120, 180)
    assert heaviest(changed(config, method=Method.DPO), pairs).sampled == 0
    assert heaviest(config, pairs[:1]).pairs == 1


def test_keys_and_values_of_samples() -> None:
    config = changed(HYPO, num_generations=3, max_completion_length=30)
    pairs = [PairLength(20, 5, 5)] * 2
    a_position = 2 * SHAPE.kv_dim * SHAPE.layers * 4
    assert estimate_memory(SHAPE, config, pairs).kv_cache == 2 * (20 + 3 * 30) * a_position
    assert estimate_memory(SHAPE, config, pairs, gpu=True).kv_cache == 2 * (20 + 3 * 30) * a_position // 2
    assert estimate_memory(SHAPE, changed(config, method=Method.DPO), pairs).kv_cache == 0
    watched = changed(DPO, eval_prompts=40, max_prompt_length=100, max_completion_length=30)
    assert (
        estimate_memory(SHAPE, watched, pairs).kv_cache == 16 * 130 * a_position + 4 * SHAPE.linear_parameters
    )
    full = changed(watched, lora_r=0)
    assert estimate_memory(SHAPE, full, pairs).kv_cache == 16 * 130 * a_position


def test_the_total_counts_what_lives_at_once() -> None:
    trains = estimate_memory(SHAPE, HYPO)
    watches = estimate_memory(SHAPE, changed(DPO, eval_prompts=16), [PairLength(1, 1, 1)])
    assert trains.activations > trains.kv_cache
    assert watches.activations < watches.kv_cache
    for found in (trains, watches):
        parts = found.parts()
        assert found.total == sum(parts.values()) - min(parts["activations"], parts["kv_cache"])
    assert list(parts) == [
        "weights", "adapter", "optimiser", "gradients", "activations", "kv_cache", "head", "process",
        "rollout", "loading",
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["prompt", "chosen", "rejected"])
def test_activations_grow_linearly_with_lengths(field: str) -> None:
    def at(length: int) -> int:
        pair = PairLength(**{"prompt": 50, "chosen": 50, "rejected": 50, field: length})
        return estimate_memory(SHAPE, DPO, [pair] * 2).activations

    assert at(200) - at(150) == pytest.approx(at(150) - at(100), abs=2)
    assert at(150) > at(100)


@settings(deadline=None)
@given(
    batch=st.integers(1, 32),
    k=st.integers(2, 8),
    prompt=st.integers(1, 2000),
    answer=st.integers(1, 2000),
    rank=st.integers(0, 64),
    method=st.sampled_from(Method),
    checkpointing=st.booleans(),
)
def test_more_of_anything_never_takes_less(
    batch: int, k: int, prompt: int, answer: int, rank: int, method: Method, checkpointing: bool
) -> None:
    values: dict[str, Any] = {
        "per_device_train_batch_size": batch,
        "num_generations": k,
        "max_prompt_length": prompt,
        "max_completion_length": answer,
    }
    batch = max(batch, 2) if method is Method.KTO else batch  # it needs two prompts in a step
    values |= {"per_device_train_batch_size": batch}
    fixed = {"method": method, "lora_r": rank, "gradient_checkpointing": checkpointing, "reward": "length"}
    before = estimate_memory(SHAPE, TrainConfig(**values, **fixed)).total
    for name, value in values.items():
        more = TrainConfig(**{**values, name: 2 * value}, **fixed)
        assert estimate_memory(SHAPE, more).total >= before


def test_a_reward_model_counts_as_another_base_model_and_samples_are_compared() -> None:
    rule, model = (changed(HYPO, method=Method.RLOO, reward=reward) for reward in ("length", "run:3"))
    more = estimate_memory(SHAPE, model).weights - estimate_memory(SHAPE, rule).weights
    assert more == 4 * SHAPE.parameters
    wide = changed(rule, num_generations=8)
    found = helpful_knobs(SHAPE, wide, available=1, most=20)
    assert min(knob.changes.get("num_generations", 2) for knob in found) == 2


def test_ppos_value_head_is_trained_and_its_states_are_kept() -> None:
    rloo, ppo = (
        estimate_memory(SHAPE, changed(HYPO, method=method, reward="length"))
        for method in (Method.RLOO, Method.PPO)
    )
    assert ppo.optimiser - rloo.optimiser == 8 * SHAPE.hidden
    assert ppo.gradients - rloo.gradients == ppo.adapter - rloo.adapter == 4 * SHAPE.hidden
    assert ppo.head > rloo.head
    assert (ppo.weights, ppo.activations, ppo.kv_cache) == (rloo.weights, rloo.activations, rloo.kv_cache)
    wide = changed(HYPO, method=Method.PPO, reward="length", num_generations=8)
    found = helpful_knobs(SHAPE, wide, available=1, most=20)
    assert min(knob.changes.get("num_generations", 2) for knob in found) == 1


def test_checkpointing_saves_memory_and_a_generic_model_takes_more() -> None:
    deep = ModelShape(**{**_fields(SHAPE), "layers": 30})
    plain = estimate_memory(deep, DPO, gpu=True)
    assert (
        estimate_memory(deep, changed(DPO, gradient_checkpointing=True), gpu=True).activations
        < plain.activations / 2
    )
    other = ModelShape(**{**_fields(deep), "family": "unheard_of"})
    assert estimate_memory(other, DPO, gpu=True).activations > 1.2 * plain.activations


def test_matrices_that_are_no_linear_layers_are_not_merged() -> None:
    gpt2 = ModelShape(**{**_fields(SHAPE), "family": "gpt2", "gated": False})
    assert estimate_memory(gpt2, HYPO).weights == 4 * gpt2.parameters


def _fields(shape: ModelShape) -> dict[str, Any]:
    return {name: getattr(shape, name) for name in shape.__slots__}


@pytest.mark.parametrize("config", [DPO, HYPO, changed(HYPO, lora_r=0), changed(DPO, eval_prompts=16)])
def test_three_knobs_that_help_each_with_its_own_estimate(config: TrainConfig) -> None:
    config = changed(config, per_device_train_batch_size=8)
    now = estimate_memory(SHAPE, config).total
    knobs = helpful_knobs(SHAPE, config, available=now // 2)
    assert len(knobs) == 3
    for knob in knobs:
        assert knob.estimate == estimate_memory(SHAPE, changed(config, **knob.changes))
        assert knob.estimate.total < now
        assert config.samples_online or "num_generations" not in knob.changes
    totals = [knob.estimate.total for knob in knobs]
    fitting = [total for total in totals if total <= now // 2]
    assert totals == sorted(fitting) + sorted(set(totals) - set(fitting))


def test_the_batch_is_made_no_smaller_than_it_must_and_the_step_stays_as_large() -> None:
    config = changed(DPO, per_device_train_batch_size=12, gradient_accumulation_steps=2)
    at_four = estimate_memory(SHAPE, changed(config, per_device_train_batch_size=4)).total
    knobs = helpful_knobs(SHAPE, config, available=at_four, most=9)
    (batch,) = [knob for knob in knobs if "per_device_train_batch_size" in knob.changes]
    assert batch.changes == {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 6}
    assert batch.words == "per_device_train_batch_size 4 with gradient_accumulation_steps 6"
    assert batch.estimate.total == at_four


def test_a_refusal_is_a_sentence_with_the_knobs_and_the_way_around() -> None:
    config = changed(HYPO, per_device_train_batch_size=8)
    found = estimate_memory(SHAPE, config)
    knobs = helpful_knobs(SHAPE, config, available=GIB // 4)
    text = refusal(found, GIB // 4, knobs, insist="set insist: true")
    assert f"needs about {format_bytes(found.total)}" in text
    assert "256 MiB can be had" in text
    assert all(str(knob) in text for knob in knobs)
    assert text.endswith("To start it anyway, set insist: true.")
    assert "choose a smaller model. To start it anyway" in refusal(found, 0, [], insist="set insist: true")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "hidden_size"),
        ({"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}, "vocab_size"),
        ({"hidden_size": "8"}, "hidden_size"),
        ({"hidden_size": 0}, "hidden_size"),
    ],
)
def test_a_config_that_does_not_tell(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=f"does not say {named}"):
        read_shape(config)


def test_the_text_part_of_a_larger_model_and_a_mixture_of_experts() -> None:
    inner = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    assert read_shape({"model_type": "gemma3", "text_config": inner}).layers == 2
    mixture = read_shape(inner | {"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 32})
    plain = read_shape(inner | {"intermediate_size": 32})
    assert mixture.linear_parameters - plain.linear_parameters == 2 * 7 * 3 * 64 * 32


def test_bytes_for_people() -> None:
    found = [format_bytes(n) for n in (0, 2000, 3 * 2**20, 1023 * 2**20, 3.14 * GIB, 1234 * GIB)]
    assert found == ["0", "2 KiB", "3 MiB", "1.0 GiB", "3.1 GiB", "1,234 GiB"]


def test_free_memory_is_the_systems_or_the_containers(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000 kB\nMemAvailable:   5000 kB\n")
    assert available_bytes(meminfo, tmp_path / "none") == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 5000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 50000\n")
    assert available_bytes(meminfo, tmp_path) == 450_000
    assert whole_memory(meminfo, tmp_path) == 1_000_000
    assert whole_memory(meminfo, tmp_path / "none") == 8000 * 1024
    here, all_of_it = available_bytes(), whole_memory()
    assert here is not None
    assert all_of_it is not None
    assert 0 < here < all_of_it


def test_a_processor_says_whether_it_multiplies_bfloat16(tmp_path: Path) -> None:
    said = tmp_path / "cpuinfo"
    for flags, has in (
        ("fpu avx512_bf16 amx_bf16", True),
        ("fpu amx_bf16_other avx512_bf16", False),
        ("", False),
    ):
        said.write_text(f"processor\t: 0\nmodel name\t: avx512_bf16 amx_bf16\nflags\t\t: {flags}\n")
        assert has_amx(said) == has
    assert not has_amx(tmp_path / "none")
    assert has_amx() or not is_fast()


SAVING = [*((name, False) for name in ARCHITECTURES), ("llama", True), ("qwen2", True)]


@pytest.mark.exact
@pytest.mark.parametrize(("architecture", "in_4bit"), SAVING)
def test_what_is_said_of_activations_is_what_autograd_saves(
    tmp_path: Path, architecture: str, *, in_4bit: bool
) -> None:
    """Counted on a model so wide that the layers' tensors dominate."""
    folder = wide_model(tmp_path / architecture, architecture)
    config = changed(DPO, model_name_or_path=str(folder), lora_r=4, load_in_4bit=in_4bit)
    policy = load_policy(config, str(folder), pad_id=0, device=torch.device("cpu"))
    assert said_of(folder, config) == pytest.approx(saved_by(policy.encode, policy.model), rel=0.15)


@pytest.mark.exact
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_so_is_what_is_said_of_bfloat16_on_a_gpu(tmp_path: Path, architecture: str) -> None:
    """The layers are those that a GPU runs, here on a CPU."""
    folder = wide_model(tmp_path / architecture, architecture)
    base = load_model(str(folder), dtype=torch.bfloat16, device=torch.device("cpu"))
    model = attach_lora(base, rank=4, alpha=8, target_modules="all-linear", seed=0, base_name="x")
    encoder = PromptEncoder(model, pad_id=0)
    GroupedLora(model)
    config = changed(DPO, model_name_or_path=str(folder), lora_r=4, precision=Precision.BFLOAT16)
    assert said_of(folder, config, gpu=True) == pytest.approx(saved_by(encoder, model), rel=0.15)


@pytest.mark.parametrize("change", [{}, {"lora_target_modules": "q_proj,v_proj"}, {"mlp_bias": True}])
def test_so_is_what_is_said_of_bfloat16_on_a_cpu(tmp_path: Path, change: dict[str, Any]) -> None:
    biased = {name: value for name, value in change.items() if name == "mlp_bias"}
    folder = wide_model(tmp_path, "llama", **biased)
    lora = {name: value for name, value in change.items() if name not in biased}
    config = changed(
        DPO, model_name_or_path=str(folder), lora_r=4, precision=Precision.BFLOAT16, eval_prompts=0, **lora
    )
    policy = load_policy(config, str(folder), pad_id=0, device=torch.device("cpu"))
    saved = saved_by(policy.encode, policy.model)
    assert said_of(folder, config, amx=is_fast()) == pytest.approx(saved, rel=0.15)
    assert said_of(folder, config) >= 0.85 * saved


def said_of(folder: Path, config: TrainConfig, **machine: bool) -> int:
    """The estimate of what two pairs of 96 + 64 tokens save."""
    shape = read_shape(json.loads((folder / "config.json").read_text()))
    using = Coefficients(workspace=0.0, slack=1.0)
    return estimate_memory(shape, config, [PairLength(96, 64, 64)] * 2, using=using, **machine).activations


def saved_by(encode: Encode, model: Any) -> int:
    """Bytes that autograd saves of two pairs of 96 + 64 tokens, without weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no address is reused

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        encode([[5] * 96] * 2).score([0, 1, 0, 1], [[7] * 64] * 4).sums().sum()
    return sum(saved.values())


def wide_model(folder: Path, architecture: str, **others: bool) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    usual = {
        "vocab_size": 300, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    }  # fmt: skip
    gpt2 = {"vocab_size": 300, "n_embd": 128, "n_inner": 384, "n_layer": 4, "n_head": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = AutoConfig.for_model(
        architecture, **(gpt2 if architecture == "gpt2" else usual), **ends, **others
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
