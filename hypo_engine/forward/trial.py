"""Tries of a loaded model on few tokens: whether it is sound, and whether another way of running it gives its
own numbers.

A model with weights in bfloat16 is tried in float32, layer by layer: what bfloat16's rounding explains would
otherwise hide a layer that ignores part of its input. How far two results may lie apart is measured by what
other words before the tokens change in them, so that a model whose outputs are flat is tried as sharply.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from hypo_engine.errors import ModelError
from hypo_engine.files.check import not_causal

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
"""What transformers' models raise for what they are not made for."""

_SHARE: Final = 0.02
"""Results agree if they differ by less than this share of what another context changes in them."""

_ROUNDING: Final = {True: 4e-6, False: 2e-2}
"""Share of the results' size that rounding explains in many layers: of float32, and of bfloat16."""

_AHEAD: Final = {True: 2e-5, False: 4e-3}
"""Share of the largest logit that may change before the words that were changed: rounding alone."""


@dataclass(frozen=True)
class Trial:
    """What a model's own forward says of some sequences, in float32.

    Attributes:
        sequences: Token ids, of unequal lengths.
        logits: By sequence, [tokens, vocabulary].
        effect: How much another beginning changes the last tokens' logits, as a root mean square.
        rounding: Share of the results' size that rounding explains.
    """

    sequences: Sequence[Sequence[int]]
    logits: Sequence[Tensor]
    effect: float
    rounding: float

    def agrees(self, found: Tensor, expected: Tensor) -> bool:
        """Whether results of the model's size are the same up to rounding."""
        size = float(expected.float().square().mean().sqrt())
        apart = float((found.float() - expected.float()).abs().max())
        return apart <= _SHARE * self.effect + self.rounding * size


def try_tokens(model: Any, count: int, *, seed: int = 0) -> list[int]:
    """So many token ids of a model's vocabulary, the same every time, none of them special by its place."""
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

    Each part's weights are float32 while it runs, and their own bits again afterwards, so that only one layer
    takes more memory.
    """
    with ExitStack() as hooks:
        if next(model.parameters()).dtype != torch.float32:
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
    """Layers, and what stands beside them: modules without a list of modules in them."""
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
    """The model's own forward on one sequence as it stands: [tokens, vocabulary]."""
    output = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    found: Tensor = output.logits[0].float()
    return found


@contextmanager
def precisely(model: Any) -> Iterator[bool]:
    """A scope in which the model computes in float32, or as it is where it cannot; says which."""
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
    """Run a model's own forward on a few sequences; ``wide``: what the scope of :func:`precisely` said."""
    sequences = [try_tokens(model, length, seed=length) for length in (21, 13, 7)]
    logits = [plain_logits(model, ids) for ids in sequences]
    other = plain_logits(model, [*try_tokens(model, 10, seed=1), *sequences[0][10:]])
    effect = float((other[10:] - logits[0][10:]).square().mean().sqrt())
    return Trial(sequences, logits, effect, _ROUNDING[wide])


def agrees(trial: Trial, run: Callable[[], Sequence[tuple[Tensor, Tensor]]]) -> bool:
    """Whether another way of running a model gives pairs of (found, expected) that agree."""
    try:
        return all(trial.agrees(found, expected) for found, expected in run())
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except MODEL_ERRORS:  # it was not made for this
        return False


@torch.no_grad()
def _not_finite(model: Any) -> str:
    """The first parameter that is not finite, or buffer that holds no number; "" where there is none.

    Attention of torch hides a NaN in a query or a key, and a row of the embedding may never be asked for.
    Buffers may be infinite, as masks are, but for the frequencies of rotary positions.
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
    """The least and the largest number of a tensor, NaN where it holds one, without a copy of it."""
    return torch.stack(list(torch.aminmax(tensor)))


def check_sound(model: Any, name: str) -> None:
    """Refuse a model that cannot run, whose numbers are not finite, or that looks ahead.

    Raises:
        ModelError: saying which of these.
    """
    if bad := _not_finite(model):
        raise ModelError(
            f"{name!r} contains numbers that are not finite ({bad}): its weights or its "
            "config.json are damaged; fetch the model again."
        )
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
