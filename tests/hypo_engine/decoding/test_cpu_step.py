"""Decoding in C, compared with decoding through transformers' modules, and its fallbacks."""

import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from hypo_engine.config import TrainConfig
from hypo_engine.cpu import compiler
from hypo_engine.cpu.compiler import compiled
from hypo_engine.cpu.skinny_gemm import library, product
from hypo_engine.decoding.cpu_step import CompiledDecoding
from hypo_engine.decoding.decoder import Decoder
from hypo_engine.decoding.modules import PrefixDecoding
from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.head import Head
from hypo_engine.forward.merged_lora import MergedLora
from hypo_engine.forward.routed_lora import RoutedLora
from hypo_engine.models.adapters import attach_lora, quiet_peft
from hypo_engine.models.load import load_model
from hypo_engine.models.policy import load_policy
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.shared import SharedPrefix
from tests.hypo_engine.conftest import torch_threads
from tests.hypo_engine.forward.test_lora import shake

CPU = torch.device("cpu")
PROMPTS = [[5, 90, 33, 7, 200, 41, 18], [60], list(range(100, 137))]
FORMS = ("llama", "llama_untied", "qwen2")

needs_compiler = pytest.mark.skipif(library() is None, reason="this machine has no C compiler")


def load(folder: Path) -> Any:
    return load_model(str(folder), dtype=torch.float32, device=CPU)


def view(model: Any) -> Decoder:
    found = try_packing(model)
    assert found is not None
    return found


def logits_of(decoding: Decoding, tokens: Sequence[Sequence[int]]) -> list[Tensor]:
    """The logits after each token in tokens[step][row]."""
    found = [decoding.logits.clone()]
    for now in tokens:
        decoding.feed(torch.tensor(now))
        found.append(decoding.logits.clone())
    return found


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


def both(prefix: SharedPrefix, rows: list[int], limit: int) -> tuple[CompiledDecoding, PrefixDecoding]:
    compiled_one = prefix.decoding(rows, limit)
    assert isinstance(compiled_one, CompiledDecoding)
    return compiled_one, prefix._through_modules(rows, limit, compiled_one.logits.clone())


@needs_compiler
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "rows", [[0], [1, 0], [0, 0, 1], [2, 1, 0, 2, 1, 0, 0], [0, 1, 2] * 3, [2, 1] * 8 + [0]]
)
def test_every_number_of_rows(tiny: Callable[[str], Path], form: str, rows: list[int]) -> None:
    one, other = both(SharedPrefix(view(load(tiny(form))), PROMPTS), rows, 40)
    tokens = torch.randint(3, 300, (40, len(rows)), generator=torch.Generator().manual_seed(1)).tolist()
    for found, expected in zip(logits_of(one, tokens), logits_of(other, tokens), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@needs_compiler
@pytest.mark.parametrize(
    ("heads", "kv_heads", "size", "rope", "bias"),
    [
        (2, 2, 16, {}, True),
        (3, 1, 64, {"rope_type": "linear", "factor": 4.0}, False),
        (5, 1, 20, {}, False),
        (6, 2, 80, {"rope_type": "llama3", "original_max_position_embeddings": 16} | LLAMA3, True),
        (7, 1, 72, {}, False),
    ],
)
def test_every_shape_of_attention(
    heads: int, kv_heads: int, size: int, rope: dict[str, Any], bias: bool
) -> None:
    torch.manual_seed(heads)
    rope = {"rope_type": "default", "rope_theta": 100.0} | rope
    config = LlamaConfig(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=size,
        vocab_size=300,
        hidden_size=12 * heads,
        intermediate_size=77,
        num_hidden_layers=2,
        attention_bias=bias,
        rope_parameters=rope,
        max_position_embeddings=128,
    )
    model = LlamaForCausalLM(config).eval()
    shake(model)
    rows = [2, 0, 1, 2, 0, 2]
    one, other = both(SharedPrefix(view(model), PROMPTS), rows, 12)
    tokens = torch.randint(3, 300, (12, len(rows))).tolist()
    for found, expected in zip(logits_of(one, tokens), logits_of(other, tokens), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("modules", ["all-linear", "q_proj,down_proj"])
def test_merged_adapters_as_they_are_now(tiny: Callable[[str], Path], form: str, modules: Any) -> None:
    model = attach_lora(load(tiny(form)), rank=3, alpha=8, target_modules=modules, seed=0, base_name="x")
    found = view(model)
    assert isinstance(
        SharedPrefix(found, PROMPTS).decoding([0], 2), PrefixDecoding
    )  # a layer of PEFT has three weights
    merged = MergedLora(model)
    before = SharedPrefix(found, PROMPTS).decoding([0, 1], 2)
    assert isinstance(before, CompiledDecoding)
    plain = logits_of(before, [[9, 8]])[-1]
    shake(model)
    one, other = both(SharedPrefix(found, PROMPTS), [0, 1], 2)
    changed = logits_of(one, [[9, 8]])[-1]
    torch.testing.assert_close(changed, logits_of(other, [[9, 8]])[-1], atol=2e-4, rtol=1e-4)
    assert (changed - plain).abs().max() > 0.1
    with merged.off():
        torch.testing.assert_close(
            logits_of(both(SharedPrefix(found, PROMPTS), [0, 1], 2)[0], [[9, 8]])[-1], plain
        )


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of this family")
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"])
def test_processors_with_shorter_vectors(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, processor: str
) -> None:
    flags = [flag.replace("native", processor) for flag in compiler._FLAGS]
    monkeypatch.setattr(compiler, "_FLAGS", flags)
    compiled.cache_clear()
    try:
        for rows in (1, 3, 4, 7, 9):
            one, other = both(
                SharedPrefix(view(load(tiny("qwen2"))), PROMPTS), [2, 0, 1, 0, 1, 2, 0, 1, 2][:rows], 3
            )
            tokens = torch.randint(3, 300, (3, rows)).tolist()
            for found, expected in zip(logits_of(one, tokens), logits_of(other, tokens), strict=True):
                torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    finally:
        compiled.cache_clear()


@needs_compiler
def test_rows_dropped_on_the_way(tiny: Callable[[str], Path]) -> None:
    one, other = both(SharedPrefix(view(load(tiny("qwen2"))), PROMPTS), [0, 1, 2, 0], 9)
    for now, kept in (([4, 5, 6, 7], [0, 2, 3]), ([8, 9, 10], [1, 2]), ([11, 12], [1]), ([13], [0])):
        for decoding in (one, other):
            decoding.feed(torch.tensor(now))
            assert decoding.keep(torch.tensor(kept))
        torch.testing.assert_close(one.logits, other.logits, atol=2e-4, rtol=1e-4)


@needs_compiler
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(tiny: Callable[[str], Path]) -> None:
    prefix = SharedPrefix(view(load(tiny("llama"))), PROMPTS)
    alone = logits_of(prefix.decoding([2], 3), [[7], [8], [9]])
    rows = [0, 1, 0, 1, 2, 1, 0, 1, 0, 2, 1]
    tokens = torch.randint(3, 300, (3, len(rows)), generator=torch.Generator().manual_seed(1))
    tokens[:, [4, 9]] = torch.tensor([[7], [8], [9]])  # among the first eight rows and in the rest
    for count in (1, 2, 3):
        with torch_threads(count):
            beside = logits_of(prefix.decoding(rows, 3), tokens.tolist())
        for one, other in zip(alone[1:], beside[1:], strict=True):
            assert torch.equal(one[0], other[4])
            assert torch.equal(one[0], other[9])


@needs_compiler
def test_what_would_reach_beyond_memory_is_refused(tiny: Callable[[str], Path]) -> None:
    decoding = SharedPrefix(view(load(tiny("llama"))), PROMPTS).decoding([0, 1], 1)
    for wrong in ([1, -1], [1, 5000], [1]):
        with pytest.raises(IndexError):
            decoding.feed(torch.tensor(wrong))
    decoding.feed(torch.tensor([1, 2]))
    with pytest.raises(IndexError, match="room"):
        decoding.feed(torch.tensor([1, 2]))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "gemma2", "mistral", "qwen3"])
def test_other_forms_decode_through_their_modules(tiny: Callable[[str], Path], architecture: str) -> None:
    assert isinstance(SharedPrefix(view(load(tiny(architecture))), PROMPTS).decoding([0], 2), PrefixDecoding)


@pytest.mark.parametrize("change", ["window", "gelu", "yarn", "bfloat16"])
def test_options_of_a_known_form_are_seen(tiny: Callable[[str], Path], change: str) -> None:
    model = load(tiny("qwen2"))
    if change == "window":
        model.model.layers[1].self_attn.sliding_window = 4
    elif change == "gelu":
        model.config.hidden_act = "gelu"
    elif change == "yarn":
        model.model.rotary_emb.rope_type = "yarn"
    else:
        model = model.bfloat16()
    assert Decoder(model).step is None


ADAPTERS = {
    "one": ("all-linear", 3),
    "two": (["q_proj", "down_proj"], 8),
    "three": (["v_proj", "gate_proj"], 1),
}


def with_adapters(model: Any) -> Any:
    """A model with adapters of several ranks on several layers, none of them zero."""
    configs = {
        name: LoraConfig(r=rank, lora_alpha=8 + rank, target_modules=targets)
        for name, (targets, rank) in ADAPTERS.items()
    }
    with quiet_peft():
        found = get_peft_model(model, configs["one"], adapter_name="one")
        for name in ("two", "three"):
            found.add_adapter(name, configs[name])
    generator = torch.Generator().manual_seed(0)
    for parameter_name, parameter in found.named_parameters():
        if "lora_" in parameter_name:
            parameter.detach().copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return found.eval()


@needs_compiler
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "names",
    [["one"], [None, "two", "one"], ["three", "three", None, "one", "two"], [None, None], ["two"] * 17],
)
def test_rows_with_adapters_of_their_own(
    tiny: Callable[[str], Path], form: str, names: list[str | None]
) -> None:
    model = load(tiny(form))
    found, routed = view(model), RoutedLora(with_adapters(model))
    rows = [place % len(PROMPTS) for place in range(len(names))]
    prompts = [PROMPTS[row] for row in rows]
    prefix = SharedPrefix(found, prompts, route=lambda rows: routed.route([names[row] for row in rows], CPU))
    one, other = both(prefix, list(range(len(names))), 12)
    tokens = torch.randint(3, 300, (12, len(names)), generator=torch.Generator().manual_seed(1)).numpy()
    assert_same(logits_of(one, tokens[:6]), logits_of(other, tokens[:6]))
    left = torch.arange(0, len(names), 2)
    assert one.keep(left)
    assert other.keep(left)
    assert_same(logits_of(one, tokens[6:, left.tolist()]), logits_of(other, tokens[6:, left.tolist()]))


@needs_compiler
def test_a_row_is_the_same_beside_other_adapters_and_with_other_threads(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    found, routed = view(model), RoutedLora(with_adapters(model))

    names: list[str | None] = [None]
    prefix = SharedPrefix(found, PROMPTS[:1], route=lambda rows: routed.route(names, CPU))
    prefix.decoding([0], 1)  # encodes the prompt

    def last_logits(threads: int) -> Tensor:
        with torch_threads(threads):
            decoding = prefix.decoding([0] * len(names), 4)
            assert isinstance(decoding, CompiledDecoding)
            return logits_of(decoding, [[7] * len(names)] * 4)[-1][-1]

    plain = last_logits(1)
    names[:] = ["one"]
    alone = last_logits(1)
    assert not torch.allclose(alone, plain)
    names[:] = [None, "two", "three", "one"]
    assert torch.equal(alone, last_logits(1))
    names[:] = ["two", None, "one"]
    assert torch.equal(alone, last_logits(3))


@needs_compiler
def test_adapters_in_another_precision_decode_through_the_modules(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    found, adapted = view(model), with_adapters(model)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.bfloat16()
    routed = RoutedLora(adapted)
    prefix = SharedPrefix(found, PROMPTS[:1], route=lambda rows: routed.route([None] * len(rows), CPU))
    assert isinstance(prefix.decoding([0], 2), CompiledDecoding)
    step = found.step
    routed.route(["one"], CPU)
    assert step is not None
    assert step.begin(prefix._keys, [0], 2, torch.empty(1, 300)) is None


@needs_compiler
def test_a_step_that_differs_from_the_model_is_not_used(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    found = view(model)
    model.model.layers[0].self_attn.scaling *= 1.5  # decode_step.c uses the first layer's value for all
    prefix = SharedPrefix(found, PROMPTS)
    assert isinstance(prefix.decoding([0, 1], 2), PrefixDecoding)
    assert isinstance(prefix.decoding([0, 1], 2), PrefixDecoding)


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CC", "no-such-compiler")
    compiled.cache_clear()
    yield
    compiled.cache_clear()


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_all_goes_through_torch(tiny: Callable[[str], Path]) -> None:
    assert library() is None
    x, w = torch.ones(2, 3), torch.ones(5, 3)
    assert product(x, w) is None
    assert torch.equal(Head(w).logits(x), torch.full((2, 5), 3.0))
    policy = load_policy(
        TrainConfig(model_name_or_path="x", lora_r=2), str(tiny("llama")), pad_id=0, device=CPU
    )
    assert isinstance(policy.encode(PROMPTS).decoding([0], 2), PrefixDecoding)


@needs_compiler
@pytest.mark.parametrize("rows", range(1, 17))
def test_products_of_few_rows(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    for outs, depth in ((1, 1), (7, 15), (16, 16), (33, 50), (130, 64)):
        x = torch.randn(rows, depth, generator=generator)
        w = torch.randn(outs, depth, generator=generator)
        found = product(x, w)
        assert found is not None
        torch.testing.assert_close(found.double(), x.double() @ w.double().t(), atol=1e-4, rtol=1e-5)


def test_products_that_torch_has_to_do() -> None:
    w = torch.ones(4, 8)
    for x in (torch.ones(17, 8), torch.ones(2, 8).bfloat16(), torch.ones(2, 16)[:, ::2]):
        assert product(x, w) is None
    assert product(torch.ones(2, 8), w.bfloat16()) is None
    assert product(torch.ones(2, 4), w.t()) is None
    assert product(torch.ones(2, 4), w) is None
