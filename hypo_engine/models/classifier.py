"""A reward model as a folder that ``AutoModelForSequenceClassification.from_pretrained`` loads.

The adapter is merged into the weights. The head is the classifier's only new weight, and it is checked that
nothing else is missing, because transformers would initialise it anew without an error.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from hypo_engine.config import PromptStyle
from hypo_engine.errors import ModelError
from hypo_engine.forward.packed import base_model
from hypo_engine.models.merged_weights import merged_weights
from hypo_engine.models.policy import Policy

REWARD_NOTE: Final = "reward.json"
"""The file beside the weights that says how prompts are written, and the scale of the rewards."""


def check_classifiable(model: Any, name: str) -> None:
    """Refuse a base model whose architecture transformers cannot load with one number as its output.

    Raises:
        ModelError: names the architecture.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    family = base_model(model).config.model_type
    if family not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise ModelError(
            f"{name!r} ({family}) has no sequence classifier in transformers, so it cannot become a reward "
            "model; choose another base model."
        )


@dataclass(frozen=True, slots=True)
class RewardNote:
    """How to use a reward model.

    Attributes:
        mean, std: Of the rewards of the reference's own answers.
        prompt_style, enable_thinking, max_prompt_length: How its prompts were written.
        end_ids: Tokens that end an answer.
    """

    mean: float
    std: float
    prompt_style: PromptStyle
    enable_thinking: bool
    max_prompt_length: int
    end_ids: frozenset[int]

    def write(self, folder: Path) -> None:
        """Write it beside the weights."""
        values = asdict(self) | {"end_ids": sorted(self.end_ids)}
        (folder / REWARD_NOTE).write_text(json.dumps(values, indent=2), encoding="utf-8")


def save_classifier(policy: Policy, tokenizer: Any, folder: Path, note: RewardNote) -> None:
    """Write a reward model to a new folder: weights, tokenizer, and how to use them."""
    from transformers import AutoModelForSequenceClassification

    assert policy.head is not None
    base = base_model(policy.model)
    config = type(base.config).from_dict(
        base.config.to_dict() | {"id2label": {0: "reward"}, "label2id": {"reward": 0}}
    )
    pad = _pad_token(tokenizer, note.end_ids)
    config.pad_token_id = None if pad is None else tokenizer.convert_tokens_to_ids(pad)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, dtype=base.dtype)  # type: ignore[no-untyped-call]
    weights = {
        name: weight.cpu() for name, weight in merged_weights(base)
    }  # a GPU may not hold them expanded
    [head] = sorted(set(model.state_dict()) - set(weights))
    weights[head] = policy.head.weight.detach().cpu()  # in float32, as it was trained
    model.load_state_dict({name: weights[name] for name in model.state_dict()}, strict=True, assign=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _set_pad_token(folder, pad)
    note.write(folder)


def _pad_token(tokenizer: Any, end_ids: frozenset[int]) -> str | None:
    """A special token that never ends an answer.

    transformers finds the last token of a sequence by skipping padding at its end. With the end token as
    padding it would take the token before it.
    """
    named = (tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token, *tokenizer.all_special_tokens)
    found = (token for token in named if token and tokenizer.convert_tokens_to_ids(token) not in end_ids)
    return next(found, None)


def _set_pad_token(folder: Path, pad: str | None) -> None:
    """Record the padding in the saved tokenizer's settings, and that it stands on the right."""
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings |= {"padding_side": "right"} | ({"pad_token": pad} if pad else {})
    file.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
