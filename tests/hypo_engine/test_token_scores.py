"""Texts token by token, against a plain forward pass of transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.decoding.token_text import TokenTexts
from hypo_engine.errors import DataError, ModelError
from hypo_engine.forward import head, logprobs
from hypo_engine.generate import GenerationRequest, Served, load_served
from hypo_engine.models.adapters import quiet_peft
from hypo_engine.models.load import load_model
from hypo_engine.prompts.encoder import PromptEncoder
from hypo_engine.token_scores import TOP, ScoredText, ScoreRequest, score_texts
from hypo_engine.training.loop import train

TURNS = [{"role": "user", "content": "What is the capital of France?"}]
TEXT = "The capital of France is Paris. 🦊 é"


@pytest.fixture(scope="module")
def trained(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter and a fully fine-tuned model of the tiny Llama."""
    root = tmp_path_factory.mktemp("trained")
    found = {}
    for name, rank in {"one": 4, "full": 0}.items():
        config = TrainConfig(
            model_name_or_path=str(tiny("llama")), method="dpo", lora_r=rank, learning_rate=2e-2, max_steps=2
        )
        result = train(config, [Pair(TURNS, "Paris.", "No.")], output_dir=root / name, models_dir=root)
        found[name] = result.adapter_dir or result.model_dir
    return found  # type: ignore[return-value]


@pytest.fixture
def served(tiny: Callable[[str], Path], trained: dict[str, Path], tmp_path: Path) -> Served:
    served = load_served(str(tiny("llama")), tmp_path)
    for name, path in trained.items():
        served.add_adapter(name, path)
    return served


def plain(model: Any, prompt: list[int], ids: list[int]) -> torch.Tensor:
    """Log-probabilities of every token of the vocabulary in each place of a completion."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + ids])).logits[0].float()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


def agrees(scored: ScoredText, side: str, logps: torch.Tensor, ids: list[int], texts: TokenTexts) -> None:
    """A scored text has the log-probabilities and the likeliest tokens of a plain forward pass."""
    values = [getattr(token, side) for token in scored.tokens]
    expected = logps.gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert values == pytest.approx(expected.tolist(), abs=2e-4)
    likeliest = logps.topk(TOP, dim=-1)
    for token, top, top_ids in zip(scored.tokens, likeliest.values, likeliest.indices, strict=True):
        found = getattr(token, f"{side}_top")
        assert [logp for _, logp in found] == pytest.approx(top.tolist(), abs=2e-4)
        assert [text for text, _ in found] == [texts.alone(int(token_id)) for token_id in top_ids]


@pytest.mark.exact
def test_scores_are_those_of_a_plain_forward_pass(
    served: Served, tiny: Callable[[str], Path], trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (head, logprobs):
        monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 1 << 11)  # several chunks
    base, adapted, full = score_texts(
        served, [ScoreRequest(TURNS, TEXT, name) for name in (None, "one", "full")]
    )
    prompt = served.tokenization.prompt_ids(TURNS)
    ids = served.tokenization.completion_ids(TEXT, end_id=served.tokenization.end_id(TURNS))
    model = load_model(str(tiny("llama")), dtype=torch.float32, device=torch.device("cpu"))
    texts = TokenTexts(served.tokenizer)
    of_base = plain(model, prompt, ids)
    for scored in (base, adapted, full):
        agrees(scored, "reference", of_base, ids, texts)
        assert scored.as_sampled
    agrees(base, "policy", of_base, ids, texts)
    tuned = load_model(str(trained["full"]), dtype=torch.float32, device=torch.device("cpu"))
    agrees(full, "policy", plain(tuned, prompt, ids), ids, texts)
    with quiet_peft():
        peft = PeftModel.from_pretrained(model, trained["one"]).eval()
    agrees(adapted, "policy", plain(peft, prompt, ids), ids, texts)
    assert adapted.policy_logp == pytest.approx(sum(token.policy or 0 for token in adapted.tokens))
    assert adapted.policy_logp != pytest.approx(adapted.reference_logp, abs=1e-2)


@pytest.mark.exact  # packed attention multiplies in bfloat16, transformers' in float32
def test_a_model_that_is_not_packed_has_the_same_scores(served: Served) -> None:
    requests = [ScoreRequest(TURNS, TEXT, name) for name in ("one", None)]
    packed = score_texts(served, requests)
    assert served.shares_prompts
    pad = served.tokenizer.eos_token_id
    served._encoders[id(served.base)] = PromptEncoder(served.base, pad_id=pad, separate=True)
    for one, other in zip(packed, score_texts(served, requests), strict=True):
        assert one.policy_logp == pytest.approx(other.policy_logp, abs=1e-3)
        assert [t.text for t in one.tokens] == [t.text for t in other.tokens]
        assert one.reference_logp == pytest.approx(other.reference_logp, abs=1e-3)


def test_a_sampled_answer_keeps_its_tokens(served: Served) -> None:
    (answer,) = served.answer([GenerationRequest(TURNS, "one", 24, 1.5, 1.0, seed=3)])
    request = ScoreRequest(
        TURNS, answer.text, "one", ends=answer.finished, pieces=tuple(answer.token_texts), max_new_tokens=24
    )
    (scored,) = score_texts(served, [request])
    if scored.as_sampled:
        assert [t.policy for t in scored.tokens] == pytest.approx(answer.policy_token_logps, abs=1e-3)
    texts = TokenTexts(served.tokenizer)
    apart = [
        served.tokenizer(c, add_special_tokens=False).input_ids[0] for c in "Paris"
    ]  # one for each letter
    assert texts.pieces(apart) == list("Paris")
    assert texts.ids_of(list("Paris")) == apart
    (split,) = score_texts(served, [ScoreRequest(TURNS, "Paris", None, ends=False, pieces=tuple("Paris"))])
    assert (len(split.tokens), split.as_sampled) == (5, True)
    (unknown,) = score_texts(served, [ScoreRequest(TURNS, "Paris", None, ends=False, pieces=("Pa", "", "x"))])
    assert not unknown.as_sampled


def test_parts_of_a_character_are_shown_by_their_bytes(served: Served) -> None:
    (scored,) = score_texts(served, [ScoreRequest(TURNS, "a🦊", None)])
    assert [token.text for token in scored.tokens] == ["a", "‹F0›", "‹9F›", "‹A6›", "🦊", "<|im_end|>"]
    texts = TokenTexts(served.tokenizer)
    space = served.tokenizer(" ", add_special_tokens=False).input_ids[0]
    assert (texts.alone(space), texts.alone(100_000)) == (" ", "‹token 100000›")


def test_what_cannot_be_scored_is_told(served: Served) -> None:
    with pytest.raises(DataError, match=r"has \d+ tokens; at most 4 are scored"):
        score_texts(served, [ScoreRequest(TURNS, TEXT, None, most_tokens=4)])
    served.base.config.max_position_embeddings = 32
    with pytest.raises(DataError, match="the model reads at most 32"):
        score_texts(served, [ScoreRequest(TURNS, TEXT, None)])
    with pytest.raises(ModelError, match="no adapter 'gone'"):
        score_texts(served, [ScoreRequest(TURNS, TEXT, "gone")])
    (nothing,) = score_texts(served, [ScoreRequest("x", "", None, ends=False)])
    assert (nothing.tokens, nothing.policy_logp) == ([], 0.0)
