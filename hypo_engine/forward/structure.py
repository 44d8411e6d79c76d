"""What a model's structure says of how it may be run: whether attention alone mixes its tokens, and how."""

import re
from collections.abc import Mapping
from typing import Any

from hypo_engine.forward.interface import How

_MIXERS = re.compile(
    r"mamba|ssm|recurr|rglru|rwkv|delta|linear_?attn|linear_?attention|short_?conv|conv[12]d$|xlstm|mlstm"
    r"|retention|hyena|gla$|kda|lightning|index|sparse_?att|compress|ngram|engram|^doge",
    re.IGNORECASE,
)
"""Names of modules by which tokens see each other, or a state, without attention; Doge's mask is one."""

_KINDS = frozenset({"full_attention", "sliding_attention", "attention"})
"""Kinds of layers whose attention a pass answers."""

_BY_LENGTH = frozenset({"dynamic", "longrope"})
"""Rotary positions that depend on the longest sequence of a batch."""


def positions_by_length(model: Any) -> bool:
    """Whether a position means something else in a longer batch."""
    kinds: list[Any] = []
    for module in model.modules():
        found = getattr(module, "rope_type", None)
        kinds += found.values() if isinstance(found, Mapping) else [found]
    return any(isinstance(kind, str) and kind in _BY_LENGTH for kind in kinds)


def only_attention_mixes(model: Any) -> bool:
    """Whether a model has no convolution, recurrence or state, and only kinds of attention that are known."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    if not _KINDS.issuperset(kinds):
        return False
    return not any(
        _MIXERS.search(type(module).__name__) for module in model.modules() if not isinstance(module, Conv1D)
    )


def attention_as_configured(config: Any, asked: Mapping[int, How]) -> bool:
    """Whether every layer asked for attention, and for the window that the configuration gives it.

    Args:
        config: Of the text model.
        asked: What each layer asked of a pass, by its number.
    """
    if set(asked) != set(range(config.num_hidden_layers)):
        return False
    window = getattr(config, "sliding_window", None)
    if not isinstance(window, int) or getattr(config, "use_sliding_window", None) is False:
        window = None
    kinds = getattr(config, "layer_types", None)
    for layer, how in asked.items():
        wanted = window if kinds is None or kinds[layer] == "sliding_attention" else None
        if how.window != wanted:
            return False
    return True
