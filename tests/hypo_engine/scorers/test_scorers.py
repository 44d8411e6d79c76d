"""Scorers: their notation, the built-in ones, those of other packages, and reward models."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hypo_engine import reward_spec
from hypo_engine.config import TrainConfig, field_errors
from hypo_engine.errors import ConfigError, EngineError, ModelError
from hypo_engine.scorers.scorer import checked_scores, load_scorer, std_of
from tests.tiny_model import write_tiny_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("spec", "scores"),
    [
        ("length", [3.0, 0.0]),
        ("length:-0.5", [-1.5, 0.0]),
        (r"regex:^Yes|\bgood\b", [1.0, 0.0]),
        ("regex:^$", [0.0, 1.0]),
    ],
)
def test_built_in_scorers(spec: str, scores: list[float]) -> None:
    assert load_scorer(spec, device=CPU).score(["Why?", "Why?"], ["It is good", ""]) == scores


def test_sentiment() -> None:
    kind, rude, nothing = load_scorer("vader", device=CPU).score(["?"] * 3, ["I love it!", "I hate it!", ""])
    assert -1 <= rude < nothing == 0 < kind <= 1


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nonsense", "must be length, regex:PATTERN, vader"),
        ("run:0", "must be length"),
        ("run:x", "must be length"),
        ("regex:", "has no pattern"),
        ("regex:(", "has no valid pattern"),
        ("length:long", "needs a number after length:"),
        ("vader:de", "takes nothing after vader"),
        ("x" * 501, "1 to 500 characters"),
    ],
)
def test_a_bad_notation_is_told_with_a_remedy(given: str, problem: str) -> None:
    assert problem in field_errors({"reward": given})["reward"]


@pytest.mark.parametrize("good", ["", "length", "run:12", "/models/reward", "~/reward", "org/reward-model"])
def test_good_notations(good: str) -> None:
    assert TrainConfig(reward=good).reward == good


def test_a_scorer_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("marks", f"{__name__}:Marks", reward_spec.ENTRY_POINTS)
    hidden = EntryPoint("length", f"{__name__}:Marks", reward_spec.ENTRY_POINTS)
    monkeypatch.setattr(reward_spec, "entry_points", lambda group: [point, hidden])
    assert load_scorer("marks:!", device=CPU).score(["?"], ["Go! Go!"]) == [2.0]
    assert load_scorer("length", device=CPU).score(["?"], ["Go! Go!"]) == [2.0]  # words: built-in ones stay
    with pytest.raises(ConfigError, match="could not be started: give one mark"):
        load_scorer("marks", device=CPU)


class Marks:
    """Counts a mark."""

    def __init__(self, mark: str) -> None:
        if not mark:
            raise ValueError("give one mark")
        self._mark = mark

    def score(self, _prompts: Sequence[Any], answers: Sequence[str]) -> list[float]:
        return [float(answer.count(self._mark)) for answer in answers]


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ([1.0, float("nan")], "no finite number for the answer 'b'"),
        ([1.0], "another number of scores"),
        (None, "failed"),
    ],
)
def test_a_bad_score_stops_the_run_with_a_sentence(returned: Any, problem: str) -> None:
    class Broken:
        def score(self, _prompts: Sequence[Any], _answers: Sequence[str]) -> list[float]:
            return returned

    with pytest.raises(EngineError, match=problem):
        checked_scores(Broken(), ["?", "?"], ["a", "b"])


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A tiny reward model from elsewhere, whose padding is its end token."""
    folder = write_tiny_model(tmp_path / "reward", seed=5)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.config.pad_token_id = model.config.eos_token_id
    model.save_pretrained(folder)
    return folder


def test_a_reward_model_reads_its_own_tokens_up_to_the_end_token(classifier: Path) -> None:
    scorer = load_scorer(str(classifier), device=CPU)
    turns = [{"role": "user", "content": "Where is Paris?"}]
    answers = ["In France.", "In France.<|im_end|>", ""]
    found = scorer.score([turns, "Where is Paris?", turns], answers)
    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    tokenizer = scorer._tokenization.tokenizer
    text = "<|im_start|>user\nWhere is Paris?<|im_end|>\n<|im_start|>assistant\nIn France.<|im_end|>"
    ids = torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])
    hidden = model.model(input_ids=ids).last_hidden_state[0, -1]
    expected = (model.score.weight @ hidden).item()
    assert found[0] == pytest.approx(expected, abs=1e-5)
    assert found[1] == found[0]  # a plain prompt is a user's turn, and the end token stands once
    assert found[2] != found[0]
    assert std_of(scorer) == 1.0


def test_the_stored_mean_is_subtracted(classifier: Path) -> None:
    before = load_scorer(str(classifier), device=CPU).score(["?"], ["Yes"])
    note = {"mean": 2.5, "std": 0.5, "prompt_style": "chat", "enable_thinking": False}
    (classifier / "reward.json").write_text(json.dumps(note))
    scorer = load_scorer("run:3", device=CPU, run_folder=classifier)
    assert scorer.score(["?"], ["Yes"]) == pytest.approx([before[0] - 2.5])
    assert std_of(scorer) == 0.5
    (classifier / "reward.json").write_text(json.dumps(note | {"prompt_style": "wild"}))
    with pytest.raises(ModelError, match=r"reward\.json .* is damaged"):
        load_scorer(str(classifier), device=CPU)


def test_the_scale_comes_from_the_hub_too(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (classifier / "reward.json").write_text(json.dumps({"mean": 2.5, "std": 0.5, "prompt_style": "plain"}))
    repository = tmp_path / "hub" / "models--ada--judge"
    shutil.copytree(classifier, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder, hub = (load_scorer(name, device=CPU) for name in (str(classifier), "ada/judge"))
    assert std_of(hub) == 0.5
    assert hub.score(["?"], ["Yes"]) == folder.score(["?"], ["Yes"])


def test_what_is_no_reward_model_is_refused(
    tiny: Callable[[str], Path], classifier: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="2 outputs"):
        load_scorer(str(tiny("llama")), device=CPU)
    config = json.loads((classifier / "config.json").read_text())
    plain = write_tiny_model(tmp_path / "plain")
    (plain / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"no trained score\.weight"):  # transformers would make one up
        load_scorer(str(plain), device=CPU)
    with pytest.raises(ModelError, match="There is no folder"):
        load_scorer("/nowhere/at/all", device=CPU)
    with pytest.raises(ConfigError, match="give the folder of its export"):
        load_scorer("run:3", device=CPU)


def test_without_its_package_vader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(ConfigError, match="pip install 'hypo-studio\\[vader\\]'"):
        load_scorer("vader", device=CPU)
