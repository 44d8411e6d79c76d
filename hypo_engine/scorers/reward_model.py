"""A reward model as a scorer: a sequence classifier with one output and its own tokenizer.

Texts are tokenised again, because another model's token ids mean something else. Every answer ends with its
end token, as in training, also one that was cut by the length limit.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hypo_engine.chat.template import TemplateRefusal
from hypo_engine.config import PromptStyle
from hypo_engine.data.tokenize import Tokenization
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.models.classifier import REWARD_NOTE
from hypo_engine.models.load import context_limit, disable_dropout, load_tokenizer
from hypo_engine.models.untrusted import read_config, refuse_adapter_repository
from hypo_engine.reporting import Prompt

_CONTEXT = 4096
"""Longest sequence in tokens if the model does not state its context."""


class RewardModel:
    """Scores answers with a sequence classifier.

    Attributes:
        std: Standard deviation of the scores of the reference's own answers; 1 if unknown. Their mean is
            subtracted from every score.
    """

    def __init__(self, model: Any, tokenization: Tokenization, *, mean: float, std: float) -> None:
        self._model, self._tokenization, self._mean, self.std = model, tokenization, mean, std
        self._limit = context_limit(model) or _CONTEXT

    @torch.no_grad()
    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        # one sequence at a time has no padding, which a tokenizer may confuse with the end token
        return [self._reward(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]

    def _reward(self, prompt: Prompt, answer: str) -> float:
        tokenization = self._tokenization
        try:
            before = tokenization.prompt_ids(prompt)
        except TemplateRefusal as refusal:
            raise ModelError(f"The reward model cannot read a prompt: {refusal}") from refusal
        after = tokenization.completion_ids(answer, end_id=tokenization.end_id(prompt))[-self._limit + 1 :]
        ids = [*tokenization.trim(before, self._limit - len(after)), *after]
        output = self._model(input_ids=torch.tensor([ids], device=self._model.device))
        return float(output.logits[0, 0]) - self._mean


def load_reward_model(name: str, *, device: torch.device) -> RewardModel:
    """Load a reward model from a folder or from the hub: safetensors, and none of its own code.

    Raises:
        ModelError: it cannot be loaded, has no trained head, or has several outputs.
    """
    folder = Path(name).expanduser()
    resolved = str(folder.resolve()) if folder.is_dir() else name
    if not folder.is_dir() and name.startswith(("/", "./", "../", "~")):
        raise ModelError(f"There is no folder {name!r}; give a reward model's folder or hub id.")
    model = _load(resolved).to(device).eval().requires_grad_(False)
    disable_dropout(model)
    model.config.get_text_config().pad_token_id = None  # the score is then read at the very last token
    tokenizer, note = load_tokenizer(resolved), _note(resolved)
    # a model trained elsewhere reads conversations, if it has a template for them
    usual = PromptStyle.CHAT if tokenizer.chat_template else PromptStyle.PLAIN
    try:
        style = PromptStyle(note.get("prompt_style", usual))
        tokenization = Tokenization(tokenizer, style, thinking=bool(note.get("enable_thinking", False)))
        mean, std = float(note.get("mean", 0.0)), float(note.get("std", 1.0))
    except (ValueError, TypeError, ConfigError) as error:
        raise ModelError(f"{REWARD_NOTE} of {name!r} is damaged ({error}); export the run again.") from error
    return RewardModel(model, tokenization, mean=mean, std=std)


def _load(resolved: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    refuse_adapter_repository(resolved)
    try:
        config = read_config(resolved)
        if config.num_labels != 1:
            raise ModelError(
                f"{resolved!r} has {config.num_labels} outputs, but a reward model has one; choose another."
            )
        model, told = AutoModelForSequenceClassification.from_pretrained(
            resolved,
            config=config,
            dtype="auto",
            attn_implementation=None,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (MemoryError, torch.OutOfMemoryError, ModelError):
        raise
    except Exception as error:  # transformers raises arbitrary errors
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"The reward model {resolved!r} cannot be loaded ({first[:200].rstrip('.')}). Give the run that "
            "trained one, as run:12, a folder, or a hub id that the worker can reach."
        ) from error
    if told["missing_keys"]:
        raise ModelError(
            f"{resolved!r} is no reward model: it has no trained "
            f"{', '.join(sorted(told['missing_keys']))[:200]}; choose a folder that a reward run exported, "
            "or a sequence classifier with one output."
        )
    return model


def _note(resolved: str) -> dict[str, Any]:
    """What a reward run wrote beside its weights; empty for a model trained elsewhere."""
    from transformers.utils.hub import cached_file

    try:
        path = cached_file(resolved, REWARD_NOTE, _raise_exceptions_for_missing_entries=False)
        values = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
