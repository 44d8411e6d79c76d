"""Checks of a model's structure: whether tokens interact through attention only, and through which kinds."""

import re
from collections.abc import Mapping
from typing import Any

from hypo_engine.forward.interface import AttentionOptions

_MIXERS = re.compile(
    r"mamba|ssm|recurr|rglru|rwkv|delta|linear_?attn|linear_?attention|short_?conv|conv[12]d$|xlstm|mlstm"
    r"|retention|hyena|gla$|kda|lightning|index|sparse_?att|compress|ngram|engram|^doge",
    re.IGNORECASE,
)
"""Names of modules through which tokens interact other than by attention, such as Doge's dynamic mask."""

_KINDS = frozenset({"full_attention", "sliding_attention", "attention"})
"""Layer types whose attention a pass supports."""

_BY_LENGTH = frozenset({"dynamic", "longrope"})
"""Rotary embeddings that depend on the longest sequence of a batch."""


def positions_by_length(model: Any) -> bool:
    """Whether position embeddings depend on the length of the batch."""
    kinds: list[Any] = []
    for module in model.modules():
        found = getattr(module, "rope_type", None)
        kinds += found.values() if isinstance(found, Mapping) else [found]
    return any(isinstance(kind, str) and kind in _BY_LENGTH for kind in kinds)


def only_attention_mixes(model: Any) -> bool:
    """Whether a model has no convolution, recurrence or state, and only known kinds of attention."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    if not _KINDS.issuperset(kinds):
        return False
    return not any(
        _MIXERS.search(type(module).__name__) for module in model.modules() if not isinstance(module, Conv1D)
    )


def attention_as_configured(config: Any, asked: Mapping[int, AttentionOptions]) -> bool:
    """Whether every layer called the attention interface with the window of its configuration.

    Args:
        config: Configuration of the text model.
        asked: The options of each layer's call, by layer index.
    """
    if set(asked) != set(range(config.num_hidden_layers)):
        return False
    window = getattr(config, "sliding_window", None)
    if not isinstance(window, int) or getattr(config, "use_sliding_window", None) is False:
        window = None
    kinds = getattr(config, "layer_types", None)
    for layer, options in asked.items():
        wanted = window if kinds is None or kinds[layer] == "sliding_attention" else None
        if options.window != wanted:
            return False
    return True
