"""bfloat16 weights with float32 activations: compared with float32 on the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.cpu import gate_bf16
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.decoding.cpu_step import CompiledDecoding
from hypo_engine.forward.mixed import has_float_activations, keep_activations_float
from hypo_engine.forward.mixed_lora import GatedMlp, MixedLora
from hypo_engine.forward.peft_layers import adapted_layers
from hypo_engine.models.adapters import attach_lora
from hypo_engine.models.load import load_model
from hypo_engine.models.policy import Policy, load_policy
from tests.hypo_engine.forward.test_lora import IDS, shake
from tests.tiny_model import write_tiny_model

CPU = torch.device("cpu")
ARCHITECTURES = ("llama", "llama_untied", "qwen2", "qwen3", "gemma2")
PROMPTS = [[5, 90, 33, 7, 200, 41, 18], [60, 61, 62]]
ANSWERS = [[9, 8, 7, 6], [70, 71, 72], [100, 101]]
ROWS = [0, 0, 1]


def base(folder: Path, *, mixed: bool) -> Any:
    """The same numbers in both: those of bfloat16."""
    model = load_model(str(folder), dtype=torch.bfloat16, device=CPU)
    if not mixed:
        return model.float()
    assert keep_activations_float(model.requires_grad_(False))
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_lie_near_those_of_float32(tiny: Callable[[str], Path], architecture: str) -> None:
    exact, mixed = (base(tiny(architecture), mixed=mixed) for mixed in (False, True))
    plain = load_model(str(tiny(architecture)), dtype=torch.bfloat16, device=CPU)
    with torch.no_grad():
        expected, found, rough = (model(input_ids=IDS).logits.float() for model in (exact, mixed, plain))
    assert has_float_activations(mixed)
    assert not has_float_activations(plain)
    assert 0 < (found - expected).abs().mean() < (rough - expected).abs().mean()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_lie_near_those_of_float32(tiny: Callable[[str], Path], architecture: str) -> None:
    gradients = []
    for mixed in (False, True):
        model = attach_lora(
            base(tiny(architecture), mixed=mixed),
            rank=3,
            alpha=8,
            target_modules="all-linear",
            seed=0,
            base_name="x",
        )
        shake(model)
        if mixed:
            MixedLora(model)
        model(input_ids=IDS).logits.square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    for name, expected in gradients[0].items():
        off = (gradients[1][name] - expected).norm() / expected.norm()
        assert off < 0.05, (name, float(off))


def test_a_model_whose_matrices_are_no_linear_layers_stays_as_it_was(tiny: Callable[[str], Path]) -> None:
    model = load_model(str(tiny("gpt2")), dtype=torch.bfloat16, device=CPU)
    assert not keep_activations_float(model)
    assert not has_float_activations(model)
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())


def test_a_model_that_reads_weights_past_the_forward_stays_as_it_was(tiny: Callable[[str], Path]) -> None:
    model = load_model(str(tiny("llama")), dtype=torch.bfloat16, device=CPU)
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: torch.nn.functional.linear(x, mlp.up_proj.weight) @ mlp.up_proj.weight
    assert not keep_activations_float(model)
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
    assert model(input_ids=IDS).logits.dtype == torch.bfloat16


def policy(config: Callable[..., TrainConfig], folder: Path, **changes: Any) -> Policy:
    settings = config(**({"model_name_or_path": str(folder), "precision": "bfloat16"} | changes))
    return load_policy(settings, str(folder), pad_id=0, device=CPU)


def logps(policy: Policy) -> Tensor:
    return policy.encode(PROMPTS).score(ROWS, ANSWERS).values


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2"])
def test_an_untrained_policy_is_the_reference_to_the_last_bit(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path], architecture: str
) -> None:
    found = policy(config, tiny(architecture))
    own = logps(found)
    with found.reference() as encode:
        assert torch.equal(encode(PROMPTS).score(ROWS, ANSWERS).values, own)
    assert own.grad_fn is not None
    with torch.no_grad():
        assert torch.equal(logps(found), own)


def test_layers_of_one_input_are_joined_and_give_what_pefts_layers_give(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path]
) -> None:
    found = policy(config, tiny("llama"))
    shake(found.model)
    for module in found.model.modules():
        vars(module).pop("gated", None)
    joint = logps(found)
    assert any("joint" in vars(module) for module in found.model.modules())
    for module in found.model.modules():
        vars(module).pop("joint", None)
    apart = logps(found)
    for layer in adapted_layers(found.model):
        del layer.forward
    pefts = logps(found)
    torch.testing.assert_close(apart, joint, atol=0, rtol=0)
    torch.testing.assert_close(pefts, joint, atol=0.1, rtol=0)  # PEFT's own matrices are not rounded
    with torch.no_grad():
        shake(found.model, seed=1)
    assert (logps(found) - pefts).abs().max() > 0.1


needs_amx = pytest.mark.skipif(not is_fast(), reason="feed-forward modules are rounded with AMX only")


def gated(found: Policy) -> list[GatedMlp]:
    return [vars(module)["gated"] for module in found.model.modules() if "gated" in vars(module)]


@needs_amx
def test_a_rounded_feed_forward_module_gives_what_its_layers_give(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path]
) -> None:
    """Within the rounding of gate and up, with the gradients; and less is kept for the backward pass."""
    prompt, answers = list(range(3, 83)), [[9, 8, 7, 6], [70, 71, 72]]

    def step() -> tuple[Tensor, list[Tensor], int]:
        kept = dict[int, int]()

        def pack(x: Tensor) -> Tensor:
            kept[x.data_ptr()] = x.numel() * x.element_size()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            values = found.encode([prompt]).score([0, 0], answers).values
        values.square().sum().backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in found.parameters() if p.grad is not None]
        for p in found.parameters():
            p.grad = None
        return values.detach(), gradients, sum(kept.values())

    found = policy(config, tiny("llama"))
    shake(found.model)
    assert len(gated(found)) == found.model.config.num_hidden_layers
    values, gradients, kept = step()
    for module in found.model.modules():
        vars(module).pop("gated", None)
    apart, expected, more = step()
    assert 0 < (values - apart).abs().max() < 0.05
    assert kept < more
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours - theirs).norm() <= 0.05 * theirs.norm()


@needs_amx
@pytest.mark.parametrize("targets", ["q_proj,v_proj", "gate_proj,down_proj"])
def test_a_module_of_which_not_all_layers_are_adapted_is_computed_layer_by_layer(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path], targets: str
) -> None:
    found = policy(config, tiny("llama"), lora_target_modules=targets)
    assert not gated(found)
    assert logps(found).isfinite().all()


@needs_amx
def test_a_module_with_a_bias_is_computed_layer_by_layer(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path]
) -> None:
    found = policy(config, tiny("llama"))
    layer = found.model.get_base_model().model.layers[0].mlp.gate_proj.base_layer
    layer.bias = torch.nn.Parameter(torch.ones(len(layer.weight)), requires_grad=False)
    first, second = gated(found)
    x = torch.randn(3, found.model.config.hidden_size)
    assert first(x) is None
    assert second(x) is not None


@needs_amx
def test_a_module_wider_than_a_sum_in_one_go_is_rounded_too(
    config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "wide", intermediate_size=18_944, num_hidden_layers=1)
    exact, found = (policy(config, folder, precision=p) for p in ("float32", "bfloat16"))
    shake(exact.model)
    shake(found.model)
    gradients = []
    for one in (exact, found):
        logps(one).square().sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad for p in one.parameters() if p.grad is not None])
    assert all(module.serves for module in gated(found))
    for expected, ours in zip(*gradients, strict=True):
        assert (ours - expected).norm() <= 0.1 * expected.norm()


@needs_amx
def test_a_gate_that_does_not_compile_is_computed_in_float32(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = policy(config, tiny("llama"))
    values = logps(found)
    monkeypatch.setattr(gate_bf16, "compiled", lambda _: None)
    assert not any(module.serves for module in gated(found))
    assert 0 < (logps(found) - values).abs().max() < 0.05


@pytest.mark.parametrize("architecture", ["llama", "llama_untied", "qwen2"])
def test_decoding_gives_trainings_log_probabilities(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path], architecture: str
) -> None:
    exact, found = (policy(config, tiny(architecture), precision=p) for p in ("float32", "bfloat16"))
    shake(exact.model)
    shake(found.model)
    with torch.no_grad():
        expected, rounding = logps(found), (logps(found) - logps(exact)).abs().mean()
        decoding = found.encode(PROMPTS).decoding(ROWS, 4)
    decoded = []
    for place in range(2):
        tokens = torch.tensor([answer[place] for answer in ANSWERS])
        decoded.append(decoding.logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0].clone())
        decoding.feed(tokens)
    gap = (torch.stack(decoded, dim=1) - expected[:, :2]).abs().mean()
    assert gap < 2 * rounding < 0.1


@pytest.mark.parametrize("rows", [1, 3, 16, 17, 40, 70])
def test_decoding_in_c_gives_what_modules_give(
    config: Callable[..., TrainConfig], tiny: Callable[[str], Path], rows: int
) -> None:
    found = policy(config, tiny("llama"))
    shake(found.model)
    with torch.no_grad():
        encoded = found.encode([[5, 90, 33 + row] for row in range(rows)])
        decoding = encoded.decoding(range(rows), 3)
        through = encoded._through_modules(range(rows), 3, decoding.logits.clone())  # type: ignore[attr-defined]
    if not isinstance(decoding, CompiledDecoding):
        pytest.skip("this processor has no AMX")
    for token in (7, 8):
        for one in (decoding, through):
            one.feed(torch.full((rows,), token) + torch.arange(rows))
        apart = (decoding.logits - through.logits).abs()
        assert apart.mean() < 0.02 * decoding.logits.std()
    decoding.keep(torch.arange(rows)[::2])
    decoding.feed(torch.full((len(range(0, rows, 2)),), 9))
    assert decoding.logits.isfinite().all()
