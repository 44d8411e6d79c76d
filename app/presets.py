"""Presets by task: starting values for the form and the command line, chosen by this project."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from app.errors import InvalidInput
from app.i18n import N_


@dataclass(frozen=True, slots=True)
class Preset:
    """Starting values of a TrainConfig. All other fields keep their defaults."""

    title: str
    description: str
    values: Mapping[str, Any]


def _preset(title: str, description: str, **values: Any) -> Preset:
    return Preset(title, description, MappingProxyType(values))


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "quick": _preset(
            N_("Quick look"),
            (
                "Ten short steps to check that everything works; minutes on a CPU. The model learns "
                "very little."
            ),
            max_steps=10,
            per_device_train_batch_size=2,
            max_prompt_length=256,
            max_completion_length=128,
            learning_rate=2e-4,
            eval_steps=5,
            eval_pairs=8,
            eval_prompts=4,
            probe_prompts=2,
        ),
        "demo": _preset(
            N_("Demo"),
            "Enough for the demo pairs to show a difference between DPO and HyPO on a laptop's CPU.",
            max_steps=10,
            per_device_train_batch_size=4,
            max_prompt_length=256,
            max_completion_length=64,
            learning_rate=5e-4,
            kl_coef=0.03,
            eval_steps=5,
            eval_pairs=12,
            eval_prompts=6,
            probe_prompts=2,
        ),
        "summaries": _preset(
            N_("Short summaries"),
            "Posts with one good and one poor summary, as in TL;DR; long prompts, short answers.",
            num_train_epochs=1.0,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=4,
            max_prompt_length=512,
            max_completion_length=64,
            beta=0.05,
            eval_steps=50,
            eval_pairs=128,
            eval_prompts=32,
            probe_prompts=4,
            save_steps=100,
        ),
        "chat": _preset(
            N_("Chat"),
            "Conversations with a better and a worse reply; long answers, several turns.",
            num_train_epochs=1.0,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=8,
            max_prompt_length=1024,
            max_completion_length=512,
            beta=0.1,
            learning_rate=5e-5,
            gradient_checkpointing=True,
            eval_steps=50,
            eval_pairs=64,
            eval_prompts=16,
            probe_prompts=4,
            save_steps=100,
        ),
        "votes": _preset(
            N_("From votes"),
            "A few hundred labelled pairs from the compare page: several passes, gentle steps.",
            num_train_epochs=3.0,
            per_device_train_batch_size=4,
            learning_rate=5e-5,
            beta=0.2,
            eval_steps=20,
            eval_pairs=32,
            eval_prompts=16,
            probe_prompts=4,
        ),
    }
)


def preset_values(name: str) -> dict[str, Any]:
    """The values of a preset.

    Raises:
        InvalidInput: for an unknown name.
    """
    if name not in PRESETS:
        raise InvalidInput(f"There is no preset {name!r}; there are {', '.join(PRESETS)}.", field="preset")
    return dict(PRESETS[name].values)


def default_preset(*, gpu: bool) -> str | None:
    """The form's initial preset: without a GPU, one whose run finishes in minutes."""
    return None if gpu else "quick"
