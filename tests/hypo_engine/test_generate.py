from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from hypo_engine.config import Precision, TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.generate import Answer, GenerationRequest, Served, load_served
from hypo_engine.models.adapters import quiet_peft
from hypo_engine.models.load import load_model
from hypo_engine.prompts.encoder import PromptEncoder
from hypo_engine.training.loop import train
from tests.architectures import tiny_architecture
from tests.tiny_model import CHAT_TEMPLATE, write_tiny_model

TURNS = [{"role": "user", "content": "What is the capital of France?"}]
OTHER = [{"role": "user", "content": "Write a short and kind answer, and then another one."}]


def request(
    adapter: str | None = None, prompt: Any = TURNS, tokens: int = 12, t: float = 1.0, seed: int = 1
) -> GenerationRequest:
    return GenerationRequest(prompt, adapter, tokens, t, 1.0, seed)


@pytest.fixture(scope="module")
def trained(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters and a fully fine-tuned model, trained on the tiny Llama."""
    root = tmp_path_factory.mktemp("trained")
    pairs = [Pair(TURNS, "Paris.", "A long answer wanders."), Pair(OTHER, "No.", "The capital of France.")]
    found = {}
    for name, changes in {"one": {"seed": 1}, "two": {"seed": 2}, "full": {"lora_r": 0}}.items():
        config = TrainConfig(
            **{
                "model_name_or_path": str(tiny("llama")),
                "method": "dpo",
                "lora_r": 4,
                "learning_rate": 2e-2,
                "max_steps": 4,
            }
            | changes
        )
        result = train(config, pairs, output_dir=root / name, models_dir=root)
        found[name] = result.adapter_dir or result.model_dir
    return found  # type: ignore[return-value]


@pytest.fixture
def served(tiny: Callable[[str], Path], tmp_path: Path) -> Served:
    return load_served(str(tiny("llama")), tmp_path)


@pytest.fixture
def full_house(served: Served, trained: dict[str, Path]) -> Served:
    for name, path in trained.items():
        served.add_adapter(name, path)
    return served


def same(one: Answer, other: Answer) -> None:
    assert one.text == other.text
    assert one.token_texts == other.token_texts
    assert one.policy_token_logps == pytest.approx(other.policy_token_logps, abs=1e-4)
    assert one.reference_token_logps == pytest.approx(other.reference_token_logps, abs=1e-4)


def test_a_mixed_batch_equals_single_rows(full_house: Served) -> None:
    requests = [
        request(None),
        request("one"),
        request("two", OTHER, seed=5),
        request("full"),
        request("one", "A plain prompt", tokens=7, t=0.0),
        request(None, OTHER, t=0.5),
    ]
    together = full_house.answer(requests)
    for row, answer in zip(requests, together, strict=True):
        same(full_house.answer([row])[0], answer)
        assert (
            answer.tokens == len(answer.token_texts) == len(answer.policy_token_logps) <= row.max_new_tokens
        )
        assert answer.policy_logp == pytest.approx(sum(answer.policy_token_logps))
        if row.adapter is None:
            assert answer.policy_token_logps == answer.reference_token_logps
        else:
            assert abs(answer.policy_logp - answer.reference_logp) > 0.1


def test_a_prompt_is_encoded_once_for_each_adapter(
    full_house: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = PromptEncoder.__call__

    def counted(self: PromptEncoder, prompts: Any, **given: Any) -> Any:
        encoded.append(len(prompts))
        return encode(self, prompts, **given)

    monkeypatch.setattr(PromptEncoder, "__call__", counted)
    samples = [request(name, seed=seed) for name in ("one", None) for seed in (1, 2)]
    full_house.answer([*samples, request("two")])
    assert encoded == [3], "the reference is the base, which answers too"
    encoded.clear()
    full_house.answer([request("one"), request("two"), request("one", OTHER)])
    assert encoded == [3, 2]


def test_adapters_decode_as_if_each_were_alone(
    full_house: Served, tiny: Any, trained: Any, tmp_path: Path
) -> None:
    mixed = full_house.answer([request("two"), request("one")])
    for name, answer in zip(("two", "one"), mixed, strict=True):
        alone = load_served(str(tiny("llama")), tmp_path)
        alone.add_adapter("it", trained[name])
        same(alone.answer([request("it")])[0], answer)


@pytest.mark.exact
def test_scores_are_of_the_untempered_distribution(
    full_house: Served, tiny: Any, trained: dict[str, Path]
) -> None:
    model = load_model(str(tiny("llama")), dtype=torch.float32, device=torch.device("cpu"))
    (answer,) = full_house.answer([request("one", "A plain prompt", t=0.3)])
    tokenizer = full_house.tokenizer
    prompt = tokenizer("A plain prompt").input_ids
    heard: list[str] = []
    full_house.answer(
        [request("one", "A plain prompt", t=0.3)], on_text=lambda _r, text, _n: heard.append(text)
    )
    assert heard[-1] == answer.text
    ids = decode_again(full_house, request("one", "A plain prompt", t=0.3))
    logps = model(input_ids=torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
    expected = [logps[len(prompt) + i - 1, token].item() for i, token in enumerate(ids)]
    assert answer.reference_token_logps == pytest.approx(expected, abs=1e-4)
    with quiet_peft():
        adapted = PeftModel.from_pretrained(model, trained["one"]).eval()
    logps = adapted(input_ids=torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
    expected = [logps[len(prompt) + i - 1, token].item() for i, token in enumerate(ids)]
    assert answer.policy_token_logps == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("precision", "bound"), [(Precision.FLOAT32, 1e-5), (Precision.BFLOAT16, 0.0)])
def test_an_adapter_that_changes_nothing_has_the_bases_log_probabilities(
    tiny: Callable[[str], Path],
    trained: dict[str, Path],
    tmp_path: Path,
    precision: Precision,
    bound: float,
) -> None:
    folder = Path(copytree(trained["one"], tmp_path / "nothing"))
    weights = load_file(folder / "adapter_model.safetensors")
    nothing = {name: w * 0 if "lora_B" in name else w for name, w in weights.items()}
    save_file(nothing, folder / "adapter_model.safetensors")
    served = load_served(str(tiny("llama")), tmp_path, precision)
    served.add_adapter("nothing", folder)
    for answer in served.answer([request("nothing", t=0.7), request("nothing", OTHER, t=0.7)]):
        assert answer.policy_token_logps == pytest.approx(answer.reference_token_logps, abs=bound)


def decode_again(served: Served, wanted: GenerationRequest) -> list[int]:
    """The token ids of an answer, captured during sampling."""
    import hypo_engine.generate as module

    caught: list[int] = []
    sample = module.sample_responses

    def catch(*arguments: Any, **names: Any) -> Any:
        responses = sample(*arguments, **names)
        caught.extend(responses[0].ids)
        return responses

    module.sample_responses = catch  # type: ignore[assignment]
    try:
        served.answer([wanted])
    finally:
        module.sample_responses = sample
    return caught


def test_the_same_seed_draws_the_same_numbers(served: Served) -> None:
    a, b, c = served.answer([request(seed=3), request(seed=3), request(seed=4)])
    assert a.text == b.text != c.text


def test_text_grows_and_can_be_stopped(served: Served) -> None:
    heard: dict[int, list[tuple[str, int]]] = {0: [], 1: []}

    def on_text(row: int, text: str, tokens: int) -> None:
        heard[row].append((text, tokens))

    stopped, whole = served.answer(
        [request(seed=1), request(seed=2)], on_text, lambda row: row == 0 and len(heard[0]) == 3
    )
    assert (stopped.tokens, stopped.stopped, stopped.finished) == (3, True, False)
    assert (whole.tokens, whole.stopped) == (12, False)
    for row in (0, 1):
        texts = [text for text, _ in heard[row]]
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        assert [count for _, count in heard[row]] == list(range(1, len(texts) + 1))


def test_the_end_token_finishes_an_answer(served: Served) -> None:
    free = decode_again(served, request(t=0.0))
    served.stop_ids = frozenset({free[2]})
    first = free.index(free[2])
    (answer,) = served.answer([request(t=0.0)])
    assert answer.finished
    assert answer.tokens == first + 1


def test_removing_gives_the_base_back(served: Served, trained: dict[str, Path]) -> None:
    (before,) = served.answer([request(None)])
    served.add_adapter("one", trained["one"])
    served.add_adapter("two", trained["two"])
    (two,) = served.answer([request("two")])
    served.remove_adapter("one")
    served.remove_adapter("one")  # repeating it is a no-op
    same(served.answer([request("two")])[0], two)
    with pytest.raises(ModelError, match="no adapter 'one'"):
        served.answer([request("one")])
    served.remove_adapter("two")
    same(served.answer([request(None)])[0], before)
    served.add_adapter("two", trained["two"])
    same(served.answer([request("two")])[0], two)


def test_adding_under_a_name_again_replaces(served: Served, trained: dict[str, Path]) -> None:
    served.add_adapter("run 7/b.c", trained["one"])
    (one,) = served.answer([request("run 7/b.c")])
    served.add_adapter("run 7/b.c", trained["two"])
    (two,) = served.answer([request("run 7/b.c")])
    assert one.text != two.text
    assert served.names == ["run 7/b.c"]


def test_what_does_not_fit_is_refused_and_changes_nothing(
    served: Served, trained: dict[str, Path], tmp_path: Path
) -> None:
    (before,) = served.answer([request(None)])
    folder = Path(copytree(trained["one"], tmp_path / "wide"))
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        {k: torch.cat([v, v], dim=1) if "lora_A" in k else v for k, v in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="does not fit this base model"):
        served.add_adapter("wide", folder)
    save_file(
        {k.replace("layers.0", "layers.7"): v for k, v in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="does not fit this base model"):
        served.add_adapter("deep", folder)
    with pytest.raises(ModelError, match="contains neither an adapter"):
        served.add_adapter("nothing", tmp_path)
    assert served.names == []
    same(served.answer([request(None)])[0], before)


def test_a_long_prompt_loses_its_left(served: Served) -> None:
    served.base.config.max_position_embeddings = 64
    prompt = "The quick brown fox jumps over the lazy dog. " * 40
    ids, limit = served.prompt_ids(request(prompt=prompt, tokens=20))
    assert (len(ids), limit) == (44, 20)
    assert ids == served.tokenizer(prompt).input_ids[-44:]
    (answer,) = served.answer([request(prompt=prompt, tokens=20)])
    assert answer.tokens <= 20
    ids, limit = served.prompt_ids(request(prompt=prompt, tokens=1000))  # half each for prompt and answer
    assert (len(ids), limit) == (32, 32)
    ids, limit = served.prompt_ids(request(prompt="short", tokens=1000))
    assert len(ids) + limit == 64


@pytest.mark.parametrize(
    "wrong", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_numbers_out_of_bounds(served: Served, wrong: dict[str, Any]) -> None:
    good = {"max_new_tokens": 3, "temperature": 1.0, "top_p": 1.0}
    with pytest.raises(ConfigError, match="An answer needs"):
        served.answer([GenerationRequest(prompt=TURNS, adapter=None, seed=0, **(good | wrong))])


def test_no_requests(served: Served) -> None:
    assert served.answer([]) == []


def test_without_a_template_a_question_is_answered_as_the_plain_prompt_trained_on(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "model", chat_template=False)
    question = "What is the capital of France?"
    config = TrainConfig(
        model_name_or_path=str(folder), method="dpo", lora_r=4, learning_rate=2e-2, max_steps=2
    )
    pairs = [Pair(question, "Paris.", "A long answer wanders.")]
    result = train(config, pairs, output_dir=tmp_path / "run", models_dir=tmp_path)
    served = load_served(str(folder), tmp_path)
    served.add_adapter("it", str(result.adapter_dir))
    turn = [{"role": "user", "content": question}]
    asked, given = (served.answer([request("it", prompt)])[0] for prompt in (turn, question))
    assert asked == given
    assert served.prompt_ids(request("it", turn))[0] == served.tokenizer(question).input_ids


def test_a_mixtures_adapter_answers_as_it_was_trained(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Its router was adapted in a way that only training supported."""
    folder = Path(copytree(tiny("llama"), tmp_path / "mixtral"))
    tiny_architecture("mixtral").save_pretrained(folder)
    pairs = [Pair(TURNS, "Paris.", "A long answer wanders."), Pair(OTHER, "No.", "The capital of France.")]
    config = TrainConfig(
        model_name_or_path=str(folder),
        method="dpo",
        lora_r=4,
        learning_rate=2e-2,
        max_steps=3,
        max_prompt_length=100,
    )
    result = train(config, pairs, output_dir=tmp_path / "out", models_dir=tmp_path)
    served = load_served(str(folder), tmp_path)
    assert result.adapter_dir is not None
    served.add_adapter("trained", result.adapter_dir)
    base, own = served.answer([request(None, t=0.0), request("trained", t=0.0)])
    assert base.policy_logp == pytest.approx(base.reference_logp, abs=1e-4)
    assert own.policy_logp != pytest.approx(own.reference_logp, abs=1e-3)


def test_thoughts_are_asked_for_as_they_were_trained(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Prompts of the adapter and of its base model open a thought; other prompts do not."""
    folder = Path(copytree(tiny("llama"), tmp_path / "thinker"))
    opening = CHAT_TEMPLATE.replace("<|im_start|>assistant\n'", "<|im_start|>assistant\n<think>\n'")
    (folder / "chat_template.jinja").write_text(opening)
    said = {"on": "<think>Hm.</think>Paris.", "off": "Paris."}
    adapters = {}
    for name, answer in said.items():
        config = TrainConfig(model_name_or_path=str(folder), method="dpo", lora_r=2, max_steps=1)
        pair = Pair(TURNS, answer, answer.replace("Paris", "No"))
        result = train(config, [pair], output_dir=tmp_path / name, models_dir=tmp_path)
        assert result.adapter_dir is not None
        adapters[name] = result.adapter_dir
    served = load_served(str(folder), tmp_path)
    for name, adapter in adapters.items():
        served.add_adapter(name, adapter)
    ends = {
        name: served.tokenizer.decode(served.prompt_ids(request(name))[0])[-20:]
        for name in (None, "on", "off")
    }
    assert ends["on"].endswith("<think>\n")
    assert ends["off"].endswith("<think>\n\n</think>\n\n")
    assert ends[None] == ends["off"]
    assert served.thinks(request(None), [request(None), request("on")])
    assert not served.thinks(request(None), [request(None), request("off")])
