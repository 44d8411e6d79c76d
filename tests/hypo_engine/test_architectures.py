"""Many architectures: scores match the model's own forward, or the model is refused by name."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hypo_engine.decoding.caching import choose_caching
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.forward.checkpointing import CheckpointedModel
from hypo_engine.forward.routed_lora import RoutedLora
from hypo_engine.forward.trial import check_sound, plain_logits, try_tokens
from hypo_engine.models.adapters import attach_lora, linear_layers
from hypo_engine.models.load import check_vocabulary, check_whole, context_limit, load_model
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.prompts.shared import SharedPrefix
from scripts.models_page import PAGE, page
from tests.architectures import tiny_architecture, tiny_config

PACKED = ("llama", "mixtral", "gpt2", "gemma2", "deepseek_v3", "youtu")
PLAIN = {
    "falcon": "batched",  # its attention bypasses our function
    "jamba": "batched",  # state space layers between attention
    "falcon_h1": "batched",  # and parallel to it
    "llama4_text": "batched",  # chunked attention
    "gpt_oss": "batched",  # sinks
    "mamba": "none",
    "rwkv": "none",
}
FIRST, SECOND, *COMPLETIONS = (30, 11, 25, 19, 6)


def expected(model: Any, prompt: list[int], completion: list[int]) -> float:
    """The sum of log-probabilities from the model's own forward on the single sequence."""
    with torch.no_grad():
        logps = plain_logits(model, prompt + completion).log_softmax(dim=-1)
    return sum(float(logps[len(prompt) + at - 1, token]) for at, token in enumerate(completion))


def scores(model: Any, encode: Callable[[list[list[int]]], Any]) -> tuple[Tensor, Tensor]:
    prompts = [try_tokens(model, n, seed=n) for n in (FIRST, SECOND)]
    completions, rows = [try_tokens(model, n, seed=n) for n in COMPLETIONS], [0, 0, 1]
    with torch.no_grad():
        found = encode(prompts).score(rows, completions).sums()
    alone = [expected(model, prompts[row], ids) for row, ids in zip(rows, completions, strict=True)]
    return found, torch.tensor(alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", PACKED)
def test_packed_scores_are_the_models_own(kind: str, dtype: torch.dtype) -> None:
    model = tiny_architecture(kind).to(dtype)
    view = try_packing(model)
    assert view is not None
    found, alone = scores(model, lambda prompts: SharedPrefix(view, prompts))
    assert torch.allclose(found, alone, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", PLAIN)
def test_what_cannot_be_packed_is_not_and_padding_changes_no_score(kind: str, dtype: torch.dtype) -> None:
    """Flat logits, and bfloat16 at any weight scale, once hid layers that ignored the packing."""
    for scale in (1.0, 0.15):
        model = tiny_architecture(kind, scale=scale).to(dtype)
        check_sound(model, kind)
        assert try_packing(model) is None
    assert model.config._attn_implementation != "hypo_tree"
    found, alone = scores(model, lambda prompts: SeparateSequences(model, prompts, pad_id=0))
    assert torch.allclose(found, alone, rtol=0, atol=1e-4)


def assert_decoding_gives_its_own_logits(model: Any, prompts: list[list[int]]) -> None:
    decoding = SeparateSequences(model, prompts, pad_id=0).decoding([0, 1], 4)
    for _ in range(3):
        tokens = decoding.logits.argmax(dim=-1)
        prompts = [[*ids, token] for ids, token in zip(prompts, tokens.tolist(), strict=True)]
        decoding.feed(tokens)
        with torch.no_grad():
            alone = torch.stack([plain_logits(model, ids)[-1] for ids in prompts])
        assert torch.allclose(decoding.logits, alone, atol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "falcon_h1", "mamba", "rwkv"])
def test_responses_are_written_with_the_models_own_numbers(kind: str) -> None:
    model = tiny_architecture(kind)
    assert choose_caching(model, 0) == PLAIN.get(kind, "batched")
    prompts = [try_tokens(model, n, seed=n) for n in (9, 4)]
    assert_decoding_gives_its_own_logits(model, prompts)


def test_a_factor_near_one_on_the_logits_is_seen() -> None:
    from transformers import AutoModelForCausalLM

    for scale, shared in ((1.0, True), (1.004, False)):
        config = tiny_config("granite", logits_scaling=scale)
        model = AutoModelForCausalLM.from_config(config).eval()
        assert (try_packing(model) is not None) is shared
        found, alone = scores(model, lambda prompts, model=model: SeparateSequences(model, prompts, pad_id=0))
        assert torch.allclose(found, alone, rtol=0, atol=1e-4)


def test_rotary_positions_that_depend_on_the_batch_are_scored_alone() -> None:
    from transformers import AutoModelForCausalLM

    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    config = tiny_config("llama", max_position_embeddings=32, rope_parameters=rope)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert try_packing(model) is None
    found, alone = scores(model, lambda prompts: SeparateSequences(model, prompts, pad_id=0))
    assert torch.allclose(found, alone, rtol=0, atol=1e-4)


def test_responses_are_written_past_a_change_of_rotary_positions() -> None:
    """A cache would keep the keys of the shorter text; a longer row in the batch would change them too."""
    from transformers import AutoModelForCausalLM

    rope = {
        "rope_type": "longrope",
        "short_factor": [1.0, 1.5, 2.0, 2.5],
        "long_factor": [4.0, 8.0, 16.0, 32.0],
        "original_max_position_embeddings": 12,
        "rope_theta": 10000.0,
    }
    config = tiny_config("llama", max_position_embeddings=64, rope_parameters=rope)
    model = AutoModelForCausalLM.from_config(config).eval()
    prompts = [try_tokens(model, n, seed=n) for n in (11, 4)]
    assert_decoding_gives_its_own_logits(model, prompts)


def test_adapters_in_a_head_answer_beside_the_base() -> None:
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_config(tiny_config("roberta", is_decoder=True)).eval()
    model = attach_lora(base, rank=2, alpha=4, target_modules="all-linear", seed=0, base_name="it")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    adapters: list[str | None] = ["default", None]
    prompts = [try_tokens(base, n, seed=n) for n in (4, 5)]
    completions = [try_tokens(base, n, seed=n) for n in (9, 7)]
    wanted = []
    for adapter, prompt, ids in zip(adapters, prompts, completions, strict=True):
        with nullcontext() if adapter else model.disable_adapter():
            wanted.append(expected(model, prompt, ids))
    routed = RoutedLora(model)
    joined = SeparateSequences(
        model, prompts, pad_id=0, route=lambda rows: routed.route([adapters[r] for r in rows], model.device)
    )
    with torch.no_grad():
        found = joined.score([0, 1], completions).sums()
    assert torch.allclose(found, torch.tensor(wanted), rtol=0, atol=1e-4)


def test_layers_within_layers_recompute_once() -> None:
    """Zamba's blocks contain blocks that also recompute, which silently changed the gradients."""
    from transformers import AutoModelForCausalLM

    kinds = ["mamba", "hybrid", "mamba"]
    config = tiny_config("zamba2", num_hidden_layers=3, layers_block_type=kinds, layer_types=kinds)
    model = AutoModelForCausalLM.from_config(config).eval()
    plain, recomputed = (
        _gradients(model, encode) for encode in (lambda m: m, lambda m: CheckpointedModel(m))
    )
    assert plain.keys() == recomputed.keys()
    assert all(torch.allclose(plain[name], recomputed[name], rtol=1e-4, atol=1e-6) for name in plain)


def _gradients(model: Any, encode: Callable[[Any], Any]) -> dict[str, Tensor]:
    model.zero_grad()
    SeparateSequences(encode(model), [[3, 4, 5]], pad_id=0).score([0], [[6, 7, 8]]).values.sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_an_architecture_without_checkpointing_is_told_so() -> None:
    model = tiny_architecture("llama")
    model.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match=r"gradient_checkpointing: .*llama does not support it"):
        CheckpointedModel(model)


@pytest.mark.parametrize("place", ["self_attn.q_proj", "self_attn.k_proj"])
def test_a_weight_that_attention_hides_is_refused(place: str) -> None:
    model = tiny_architecture("llama")
    with torch.no_grad():
        model.get_submodule(f"model.layers.1.{place}").weight[3, 3] = float("nan")
    with pytest.raises(ModelError, match=rf"not finite \(model\.layers\.1\.{place}\.weight\)"):
        check_sound(model, "it")


def test_rotary_frequencies_that_are_no_numbers_are_refused() -> None:
    from transformers import AutoModelForCausalLM

    rope = {"rope_type": "linear", "factor": 0.0, "rope_theta": 10000.0}
    model = AutoModelForCausalLM.from_config(tiny_config("llama", rope_parameters=rope)).eval()
    with pytest.raises(ModelError, match=r"not finite \(.*inv_freq"):
        check_sound(model, "it")


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_sees_the_future_is_refused_by_name(kind: str, dtype: torch.dtype) -> None:
    with pytest.raises(ModelError, match=f"{kind}.* is not a causal language model"):
        check_sound(tiny_architecture(kind, scale=0.15).to(dtype), kind)


def test_a_decoder_of_the_same_name_is_taken() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(tiny_config("roberta", is_decoder=True)).eval()
    check_sound(model, "roberta")
    assert context_limit(model) == 511  # positions start after the padding index


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    model = load_model(str(tiny("llama")), dtype=torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 3] = float("nan")
    model.save_pretrained(tmp_path / "nan")
    with pytest.raises(ModelError, match="not finite"):
        load_model(str(tmp_path / "nan"), dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda name: f"_orig_mod.{name}", r"missing .*unknown to it \(_orig_mod\."),
        (lambda name: name.replace("q_proj.", "q_proj.base_layer."), r"2 unknown to it .*base_layer"),
        (lambda name: None if ".layers.1.mlp" in name else name, r"3 missing \(model\.layers\.1\.mlp"),
        (
            lambda name: name.replace("lm_head", "score"),
            r"1 missing \(lm_head\.weight\), 1 unknown to it \(score",
        ),
    ],
)
def test_weights_that_are_not_the_models_are_refused_by_name(
    tmp_path: Path, tiny: Callable[[str], Path], rename: Callable[[str], str | None], said: str
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    model = load_model(str(tiny("llama_untied")), dtype=torch.float32, device=torch.device("cpu"))
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    renamed = {new: tensor for name, tensor in weights.items() if (new := rename(name)) is not None}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=said):
        load_model(str(folder), dtype=torch.float32, device=torch.device("cpu"))


def test_tables_and_other_modalities_do_no_harm() -> None:
    names = ["model.layers.0.self_attn.rotary_emb.inv_freq", "vision_tower.patch.weight", "mtp.head.weight"]
    check_whole({"missing_keys": set(), "unexpected_keys": set(names), "mismatched_keys": set()}, "it")


def test_a_tokenizer_larger_than_the_embedding_is_refused(tiny: Callable[[str], Path]) -> None:
    from hypo_engine.models.load import load_tokenizer

    model = load_model(str(tiny("llama")), dtype=torch.float32, device=torch.device("cpu"))
    tokenizer = load_tokenizer(str(tiny("llama")))
    size = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    check_vocabulary(model, tokenizer, "it", [1, 2])  # no text maps to it
    with pytest.raises(ModelError, match=f"{size + 1} tokens, and the model's embedding {size}"):
        check_vocabulary(model, tokenizer, "it", [size])
    tokenizer.add_tokens(["zebra"])
    with pytest.raises(ModelError, match=rf"resize_token_embeddings\({size + 2}\)"):
        check_vocabulary(model, tokenizer, "it")


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("mamba", {"in_proj"}),
        ("falcon", {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
        ("rwkv", {"key", "value", "receptance", "output"}),
        ("llama4_text", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("mixtral", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (
            "falcon_h1",
            {"q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "gate_proj", "up_proj", "down_proj"},
        ),
    ],
)
def test_lora_finds_the_layers_of_every_kind(kind: str, layers: set[str]) -> None:
    """Routers are excluded, as are weights that fused kernels read directly."""
    model = tiny_architecture(kind)
    assert {name.rpartition(".")[2] for name in linear_layers(model)} == layers
    policy = attach_lora(model, rank=2, alpha=4, target_modules="all-linear", seed=0, base_name=kind)
    SeparateSequences(policy, [[3, 4, 5]], pad_id=0).score([0], [[6, 7, 8]]).values.sum().backward()
    assert all(p.grad is not None for p in policy.parameters() if p.requires_grad)


def test_a_name_that_lora_cannot_adapt_is_answered_with_those_it_can() -> None:
    with pytest.raises(
        ConfigError, match=r"matches no layer of the model \(out_proj\); use all-linear, or .*in_proj"
    ):
        attach_lora(
            tiny_architecture("mamba"), rank=2, alpha=4, target_modules="out_proj", seed=0, base_name="it"
        )


def test_mpt_says_how_much_it_reads() -> None:
    assert context_limit(tiny_architecture("mpt")) == 64


def test_what_a_model_raises_becomes_a_sentence() -> None:
    from hypo_engine.training.explain import plain_errors

    model = tiny_architecture("llama")
    with (
        pytest.raises(ModelError, match=r"own code stopped with an error \(\w+\).*Choose another model"),
        plain_errors(),
    ):
        model(input_ids=torch.tensor([[10**6]]))
    with pytest.raises(KeyError), plain_errors():
        raise KeyError("ours")


def test_the_page_of_models_says_what_its_script_says() -> None:
    """A sentence that is only on the page would be lost when the script writes it the next time."""
    (said, _), (whole, _) = (text.split("## Tried") for text in (page([]), PAGE.read_text(encoding="utf-8")))
    assert whole == said
