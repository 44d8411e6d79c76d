"""Trials of a loaded model on a few tokens: is it sound, and does another implementation agree with it?

A bfloat16 model is tried in float32, layer by layer, because bfloat16's rounding could hide a layer that
ignores part of its input. The tolerance is relative to the effect of a different context on the same
tokens, so the trial is as sharp for a model with flat outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from hypo_engine.errors import ModelError
from hypo_engine.files.check import not_causal
from hypo_engine.forward.four_bit import computing_in_float32

MODEL_ERRORS: Final = (
    TypeError,
    AttributeError,
    ValueError,
    RuntimeError,
    IndexError,
    KeyError,
    AssertionError,
    NotImplementedError,
    ImportError,
)
"""What transformers' models raise for unsupported uses."""

_SHARE: Final = 0.02
"""Results agree if they differ by less than this share of the effect of another context."""

_ROUNDING: Final = {True: 4e-6, False: 2e-2}
"""Relative error of many layers' rounding: in float32, and in bfloat16."""

_AHEAD: Final = {True: 2e-5, False: 4e-3}
"""Tolerated change of logits before a changed token, relative to the largest logit; covers rounding only."""


@dataclass(frozen=True)
class Trial:
    """The logits of a model's own forward on some sequences, in float32.

    Attributes:
        sequences: Token ids, of unequal lengths.
        logits: By sequence, [tokens, vocabulary].
        effect: Root mean square change of the last tokens' logits under another context.
        rounding: Relative error of rounding.
    """

    sequences: Sequence[Sequence[int]]
    logits: Sequence[Tensor]
    effect: float
    rounding: float

    def agrees(self, found: Tensor, expected: Tensor) -> bool:
        """Whether results are equal up to rounding."""
        size = float(expected.float().square().mean().sqrt())
        apart = float((found.float() - expected.float()).abs().max())
        return apart <= _SHARE * self.effect + self.rounding * size


def try_tokens(model: Any, count: int, *, seed: int = 0) -> list[int]:
    """A fixed sequence of token ids, away from the vocabulary's ends, where special tokens stand."""
    size = vocabulary_size(model)
    generator = torch.Generator().manual_seed(seed)
    low = min(5, size - 1)
    return torch.randint(low, max(low + 1, min(size, 30_000)), (count,), generator=generator).tolist()


def vocabulary_size(model: Any) -> int:
    """Rows of the embedding table."""
    return int(model.get_input_embeddings().weight.shape[0])


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """A scope in which a half-precision model computes in float32, part by part.

    The weights of a part are float32 while it runs and are restored bit for bit afterwards, so only one
    layer at a time takes more memory.
    """
    with ExitStack() as hooks:
        if next(model.parameters()).dtype != torch.float32:
            hooks.enter_context(computing_in_float32(model))
            for part in _parts(model):
                widened = _Widened(part)
                hooks.callback(part.register_forward_pre_hook(widened.widen).remove)
                hooks.callback(part.register_forward_hook(widened.restore, always_call=True).remove)
                hooks.callback(widened.restore)
        yield


class _Widened:
    def __init__(self, part: nn.Module) -> None:
        self._part = part
        self._narrow: list[tuple[Tensor, Tensor]] = []

    def widen(self, *_: Any) -> None:
        if not self._narrow:
            tensors = [*self._part.parameters(), *self._part.buffers()]
            self._narrow = [(x, x.data) for x in tensors if x.dtype in (torch.bfloat16, torch.float16)]
            for tensor, narrow in self._narrow:
                tensor.data = narrow.float()

    def restore(self, *_: Any) -> None:
        for tensor, narrow in self._narrow:
            tensor.data = narrow
        self._narrow = []


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Layers and their siblings: the outermost modules that contain no module list."""
    if not any(isinstance(inner, nn.ModuleList) for inner in module.modules()):
        yield module
        return
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _parts(child)


@torch.no_grad()
def plain_logits(model: Any, ids: Sequence[int]) -> Tensor:
    """The model's own forward on one sequence: [tokens, vocabulary]."""
    output = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    found: Tensor = output.logits[0].float()
    return found


@contextmanager
def precisely(model: Any) -> Iterator[bool]:
    """A scope in which the model computes in float32 if it can; yields whether it does."""
    with in_float32(model):
        try:
            plain_logits(model, try_tokens(model, 3))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except MODEL_ERRORS:
            wide = False
        else:
            yield True
            return
    yield wide


def make_trial(model: Any, *, wide: bool) -> Trial:
    """Run a model's own forward on a few sequences; ``wide`` is what :func:`precisely` yielded."""
    sequences = [try_tokens(model, length, seed=length) for length in (21, 13, 7)]
    logits = [plain_logits(model, ids) for ids in sequences]
    other = plain_logits(model, [*try_tokens(model, 10, seed=1), *sequences[0][10:]])
    effect = float((other[10:] - logits[0][10:]).square().mean().sqrt())
    return Trial(sequences, logits, effect, _ROUNDING[wide])


def agrees(trial: Trial, run: Callable[[], Sequence[tuple[Tensor, Tensor]]]) -> bool:
    """Whether the (found, expected) pairs of another implementation agree."""
    try:
        return all(trial.agrees(found, expected) for found, expected in run())
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS:  # the model does not support it
        return False


@torch.no_grad()
def _not_finite(model: Any) -> str:
    """The name of the first parameter that is not finite or buffer with a NaN; "" if there is none.

    A forward pass is not enough: torch's attention hides a NaN in a query or key, and an embedding row may
    never be read. Buffers such as masks may be infinite, except for rotary frequencies.
    """
    for name, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.numel() and not _extremes(tensor).isfinite().all():
            return str(name)
    for name, tensor in model.named_buffers():
        if tensor.is_floating_point() and tensor.numel():
            found = _extremes(tensor)
            if found.isnan().any() or ("inv_freq" in name and not found.isfinite().all()):
                return str(name)
    return ""


def _extremes(tensor: Tensor) -> Tensor:
    """Minimum and maximum of a tensor, NaN if it contains one, without a copy."""
    return torch.stack(list(torch.aminmax(tensor)))


def check_finite(model: Any, name: str) -> None:
    """Refuse a model whose weights contain non-finite numbers.

    Raises:
        ModelError: naming the first such weight.
    """
    if bad := _not_finite(model):
        raise ModelError(
            f"{name!r} contains numbers that are not finite ({bad}): its weights or its "
            "config.json are damaged; fetch the model again."
        )


def check_sound(model: Any, name: str) -> None:
    """Refuse a model that cannot run, has non-finite numbers, or is not causal.

    Raises:
        ModelError: saying which of these.
    """
    check_finite(model, name)
    ids = try_tokens(model, 12)
    try:
        with precisely(model) as wide:
            first = plain_logits(model, ids)
            changed = plain_logits(model, [*ids[:8], *try_tokens(model, 4, seed=1)])
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS as error:
        raise ModelError(
            f"{name!r} ({model.config.model_type}) does not run on plain text "
            f"({type(error).__name__}); this architecture is not supported: choose another model."
        ) from error
    if not bool(first.isfinite().all()):
        raise ModelError(
            f"{name!r} computes numbers that are not finite, so its weights are damaged or need another "
            "precision; fetch them again, or set precision to float32."
        )
    ahead = (first[:8] - changed[:8]).abs().max()
    if float(ahead) > _AHEAD[wide] * float(first.abs().max()):
        raise not_causal(name, model.config.model_type)
