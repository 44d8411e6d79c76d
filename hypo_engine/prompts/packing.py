"""Tests whether a loaded model can be packed, by its structure and then by its numbers."""

from typing import Any

import torch
from torch import Tensor

from hypo_engine.decoding.decoder import Decoder
from hypo_engine.forward.attention_mask import CompletionPass, PrefixKeys, TreePass
from hypo_engine.forward.fused import fuse
from hypo_engine.forward.interface import AttentionOptions, Pass
from hypo_engine.forward.mixed import has_float_activations
from hypo_engine.forward.packed import base_model
from hypo_engine.forward.structure import attention_as_configured, only_attention_mixes, positions_by_length
from hypo_engine.forward.trial import MODEL_ERRORS, Trial, make_trial, precisely
from hypo_engine.prompts.shared import PackedSequences


@torch.no_grad()
def try_packing(model: Any, *, half: bool = False) -> Decoder | None:
    """Pack a model with fused kernels if its structure allows it and its results stay the same.

    Every layer must use the attention interface, and tokens may interact through attention only. Then the
    logits of packed tokens are compared with those of the model's own forward, in float32.

    Args:
        half: The float32 model will compute in bfloat16 (autocast), which its forward does not do yet.

    Returns:
        None for a model that cannot be packed, which is left unchanged.
    """
    base = base_model(model)
    if not only_attention_mixes(base) or positions_by_length(base):
        return None
    exact = has_float_activations(model) and not half
    before, undo = base.config._attn_implementation, None
    try:
        with precisely(model) as wide:
            trial = make_trial(model, wide=wide)
            undo = fuse(model) if exact else None
            found = Decoder(model)
            if wide and _gives_the_same(found, trial):
                return Decoder(model, half=True) if half else found
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS:
        pass  # the model does not support packing
    if undo:
        undo()
    base.set_attn_implementation(before)
    return None


_CUTS = (9, 5, 1)
"""Positions at which the trial's sequences are split into prompt and completion."""

_SCALE = 2e-4
"""Tolerated deviation of the ratio of logits from 1; float32's rounding causes less than 1e-5."""


def _gives_the_same(found: Decoder, trial: Trial) -> bool:
    """Whether packed tokens give the logits of whole sequences, both in one row and after cached keys."""
    prompts = PackedSequences.of(
        range(3), [ids[:cut] for ids, cut in zip(trial.sequences, _CUTS, strict=True)], [0] * 3
    )
    rows = [0, 1, 2, 0]  # the first prompt has two completions
    completions = PackedSequences.of(
        rows, [trial.sequences[row][_CUTS[row] :] for row in rows], [_CUTS[row] for row in rows]
    )
    whole, keys = prompts + completions, PrefixKeys(prompts.lengths)
    watched = _Watched(TreePass(keys, rows, completions.lengths))
    in_one_row = found.hidden(whole.ids, whole.positions, watched)
    if not attention_as_configured(found.config, watched.asked):
        return False
    after_keys = found.hidden(
        completions.ids, completions.positions, CompletionPass(keys, rows, completions.lengths)
    )
    first = torch.cat([logits[:cut] for logits, cut in zip(trial.logits, _CUTS, strict=True)])
    then = torch.cat([trial.logits[row][_CUTS[row] :] for row in rows])
    results = [
        (found.head.float_logits(hidden), expected)
        for hidden, expected in ((in_one_row, torch.cat([first, then])), (after_keys, then))
    ]
    return all(_of_one_scale(*pair) and trial.agrees(*pair) for pair in results)


def _of_one_scale(found: Tensor, expected: Tensor) -> bool:
    """Whether logits have the same scale; a common factor near 1 would look like a small error."""
    ours, theirs = found.double().flatten(), expected.double().flatten()
    return abs(float(ours @ theirs / (theirs @ theirs)) - 1) < _SCALE


class _Watched:
    """A pass that records the options of each layer's call."""

    def __init__(self, tree: Pass) -> None:
        self._tree, self.asked = tree, dict[int, AttentionOptions]()

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        self.asked[layer] = options
        return self._tree.attend(layer, query, key, value, options)
