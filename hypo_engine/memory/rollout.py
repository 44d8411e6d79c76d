"""What vLLM holds when it draws the samples of a run. No torch here."""

from typing import Final

from hypo_engine.config import TrainConfig
from hypo_engine.memory.shape import ModelShape

_ROWS_AT_ONCE: Final = 256
"""Responses that vLLM writes together; further ones wait."""

_BLOCK: Final = 64
"""Tokens to which a row's keys and values are rounded up, a multiple of vLLM's blocks."""


def rows_at_once(config: TrainConfig) -> int:
    """Responses that vLLM writes together, of the batch's."""
    return min(_ROWS_AT_ONCE, config.per_device_train_batch_size * config.num_generations)


def row_tokens(config: TrainConfig) -> int:
    """Tokens of a prompt and its response at most."""
    return config.max_prompt_length + config.max_completion_length


def cache_bytes(shape: ModelShape, config: TrainConfig, number: int) -> int:
    """Bytes of vLLM's keys and values for these rows, at ``number`` bytes each, with one unused block."""
    blocks = rows_at_once(config) * -(-row_tokens(config) // _BLOCK) + 1
    return blocks * _BLOCK * 2 * shape.kv_dim * shape.layers * number
