"""The cache that an unpacked model decodes with: the fastest one that reproduces the model's own forward."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hypo_engine.decoding.modules import CachedDecoding, PerRowDecoding, UncachedDecoding
from hypo_engine.decoding.protocol import Decoding
from hypo_engine.forward.checkpointing import unwrapped
from hypo_engine.forward.logprobs import Ids
from hypo_engine.forward.packed import Route, base_model, everywhere_the_same
from hypo_engine.forward.structure import positions_by_length
from hypo_engine.forward.trial import Trial, agrees, make_trial, precisely

Caching = Literal["batched", "per row", "none"]
"""One padded cache for all rows, one cache per row, or no cache."""

_KINDS: dict[Caching, Callable[..., Decoding]] = {
    "batched": CachedDecoding,
    "per row": PerRowDecoding,
    "none": UncachedDecoding,
}

_chosen: WeakKeyDictionary[Any, Caching] = WeakKeyDictionary()


def start_decoding(
    caching: Caching, model: Any, prompts: Sequence[Ids], rows: Sequence[int], pad_id: int, route: Route
) -> Decoding:
    """Run the prompts and start their responses.

    Args:
        rows: For each prompt, the row that is passed to ``route``.
    """
    return _KINDS[caching](model, prompts, rows, pad_id, route)


@torch.no_grad()
def choose_caching(model: Any, pad_id: int) -> Caching:
    """The fastest caching that reproduces the model's own forward; determined once per model."""
    model = unwrapped(model)
    base = base_model(model)
    if positions_by_length(base):
        return "none"  # cached keys were computed with positions that change when the text grows
    if base not in _chosen:
        with precisely(model) as wide:
            trial = make_trial(model, wide=wide)
            cached: list[Caching] = ["batched", "per row"]
            sound = (c for c in cached if agrees(trial, partial(_decoded_logits, model, pad_id, c, trial)))
            _chosen[base] = next(sound, "none")
    return _chosen[base]


def _decoded_logits(model: Any, pad_id: int, caching: Caching, trial: Trial) -> list[tuple[Tensor, Tensor]]:
    """Logits after each of the last two tokens, from decoding and from the model's own forward."""
    prompts = [ids[:-2] for ids in trial.sequences]
    decoding = start_decoding(caching, model, prompts, range(len(prompts)), pad_id, everywhere_the_same)
    found = [decoding.logits]
    for at in (-2, -1):
        decoding.feed(torch.tensor([ids[at] for ids in trial.sequences], device=model.device))
        found.append(decoding.logits)
    expected = [torch.stack([logits[at] for logits in trial.logits]) for at in (-3, -2, -1)]
    return list(zip(found, expected, strict=True))
