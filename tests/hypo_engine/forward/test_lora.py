"""Merged and routed adapters, compared with PEFT's own layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from hypo_engine.forward.fused import fuse
from hypo_engine.forward.grouped_lora import GroupedLora
from hypo_engine.forward.merged_lora import MergedLora
from hypo_engine.forward.peft_layers import adapted_layers
from hypo_engine.forward.routed_lora import RoutedLora
from hypo_engine.models.adapters import attach_lora, quiet_peft
from hypo_engine.models.load import load_model

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 90, 33, 7, 200, 41, 18, 60, 61]])


@pytest.fixture
def adapted(tiny: Callable[[str], Path]) -> Callable[..., Any]:
    def make(architecture: str = "llama") -> Any:
        base = load_model(str(tiny(architecture)), dtype=torch.float32, device=CPU)
        model = attach_lora(base, rank=3, alpha=8, target_modules="all-linear", seed=0, base_name="x")
        shake(model)
        return model

    return make


def shake(model: Any, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "gemma2"])
@pytest.mark.parametrize("with_lean_kernels", [False, True])
def test_merged_layers_give_pefts_values_and_gradients(
    adapted: Any, architecture: str, with_lean_kernels: bool
) -> None:
    outputs, gradients = [], []
    for merged in (False, True):
        model = adapted(architecture)
        if merged:
            MergedLora(model)
            if with_lean_kernels:  # this fuses layers with the same input
                fuse(model)
        logits = model(input_ids=IDS).logits
        logits.square().mean().backward()
        outputs.append(logits.detach())
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-4)
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5, rtol=1e-3)
        assert expected.abs().max() > 0


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 70])
def test_merged_layers_follow_the_adapter(adapted: Any, tokens: int) -> None:
    """Few and many tokens, which take different paths; before and after a step."""
    model, ids = adapted(), torch.arange(5, 5 + tokens)[None]
    merged = MergedLora(model)
    before = model(input_ids=ids).logits
    shake(model, seed=1)
    after = model(input_ids=ids).logits
    assert (after - before).abs().max() > 1e-2
    with merged.off():
        base = model(input_ids=ids).logits
    for layer in adapted_layers(model):
        del layer.forward
    torch.testing.assert_close(after, model(input_ids=ids).logits, atol=1e-5, rtol=1e-4)
    with model.disable_adapter():
        assert torch.equal(base, model(input_ids=ids).logits)


@torch.no_grad()
def test_off_is_the_base_model_to_the_last_bit(adapted: Any, tiny: Callable[[str], Path]) -> None:
    model, base = adapted(), load_model(str(tiny("llama")), dtype=torch.float32, device=CPU)
    merged = MergedLora(model)
    expected = base(input_ids=IDS).logits
    with merged.off():
        assert torch.equal(model(input_ids=IDS).logits, expected)
    assert (model(input_ids=IDS).logits - expected).abs().max() > 1e-2


def gradients_in(dtype: torch.dtype, folder: Path, *, grouped: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and the adapter's gradients, flat; the base has the same numbers in every data type."""
    base = load_model(str(folder), dtype=torch.bfloat16, device=CPU).to(dtype)
    model = attach_lora(base, rank=3, alpha=8, target_modules="all-linear", seed=0, base_name="x")
    shake(model)
    if grouped:
        GroupedLora(model)
    logits = model(input_ids=IDS).logits
    logits.float().square().mean().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert {gradient.dtype for gradient in found} == {torch.float32}
    return logits.detach().float(), torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.exact
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt_neox", "gemma2"])
def test_grouped_layers_are_nearly_as_close_to_float32_as_pefts(
    tiny: Callable[[str], Path], architecture: str
) -> None:
    exact, pefts, ours = (
        gradients_in(dtype, tiny(architecture), grouped=grouped)
        for dtype, grouped in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True))
    )
    for expected, theirs, found in zip(exact, pefts, ours, strict=True):
        assert len(found) == len(expected)
        off, theirs_off = ((one - expected).norm() / expected.norm() for one in (found, theirs))
        assert off < max(2 * theirs_off, 0.01)
    wide = gradients_in(torch.float32, tiny(architecture), grouped=True)
    for expected, found in zip(exact, wide, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.exact
@torch.no_grad()
def test_a_grouped_adapter_of_zeros_and_one_that_is_off_change_no_bit(tiny: Callable[[str], Path]) -> None:
    """So the loss at step 0 is ln 2, and the reference is the base model."""
    base = load_model(str(tiny("qwen2")), dtype=torch.bfloat16, device=CPU)
    expected = base(input_ids=IDS).logits
    model = attach_lora(base, rank=3, alpha=8, target_modules="all-linear", seed=0, base_name="x")
    grouped = GroupedLora(model)
    assert torch.equal(model(input_ids=IDS).logits, expected)
    shake(model)
    assert (model(input_ids=IDS).logits - expected).abs().max() > 1e-2
    with grouped.off():
        assert torch.equal(model(input_ids=IDS).logits, expected)


def test_a_pass_that_fails_leaves_nothing_in_a_group(tiny: Callable[[str], Path]) -> None:
    """Its graph would be alive while the step is tried again with fewer pairs."""
    base = load_model(str(tiny("llama")), dtype=torch.float32, device=CPU)
    model = attach_lora(base, rank=3, alpha=8, target_modules="all-linear", seed=0, base_name="x")
    grouped = GroupedLora(model)
    failing = base.model.layers[1].mlp.act_fn.register_forward_hook(_out_of_memory)
    with pytest.raises(MemoryError):
        model(input_ids=IDS)
    assert not any(group._downs or group._read is not None for group in grouped._groups)
    failing.remove()
    assert model(input_ids=IDS).logits.isfinite().all()
    layer = adapted_layers(model)[0]
    assert layer(torch.zeros(0, layer.in_features)).shape == (0, layer.out_features)


def _out_of_memory(*_: object) -> None:
    raise MemoryError


@torch.no_grad()
def test_layers_that_read_the_same_input_share_a_product(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_model(str(tiny("llama")), dtype=torch.float32, device=CPU)
    model = attach_lora(base, rank=3, alpha=8, target_modules="all-linear", seed=0, base_name="x")
    GroupedLora(model)
    ranks, linear = [], torch.nn.functional.linear

    def watched(x: torch.Tensor, weight: torch.Tensor, *bias: Any) -> torch.Tensor:
        if weight.shape[0] in (3, 6, 9):
            ranks.append(weight.shape[0])
        return linear(x, weight, *bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    model(input_ids=IDS)
    assert ranks == [9, 3, 6, 3] * model.config.num_hidden_layers, "of q, k and v; o; gate and up; down"


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_each_token_goes_its_own_way(tiny: Callable[[str], Path], architecture: str) -> None:
    base = load_model(str(tiny(architecture)), dtype=torch.float32, device=CPU)
    with quiet_peft():
        lora = LoraConfig(
            r=2, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=architecture == "gpt2"
        )
        model = get_peft_model(base, lora, adapter_name="one").eval()
        model.add_adapter("two", lora)
        for seed, name in enumerate(("one", "two")):
            model.set_adapter(name)
            shake(model, seed)
        layer = adapted_layers(model)[0]
        x = torch.randn(1, 6, layer.in_features)
        expected = []
        for names in (["one"], ["two"]):
            layer.set_adapter(names)
            expected.append(layer(x))
        layer.enable_adapters(False)
        expected.append(layer(x))
        layer.enable_adapters(True)
    routed = RoutedLora(model)
    routed.route(["one", None, "two", "two", None, "one"], CPU)
    found = layer(x)
    for token, which in enumerate([0, 2, 1, 1, 2, 0]):
        torch.testing.assert_close(found[0, token], expected[which][0, token], atol=1e-6, rtol=1e-5)
    routed.release()
    torch.testing.assert_close(layer(x), expected[1])  # PEFT's own forward with the last set adapter
