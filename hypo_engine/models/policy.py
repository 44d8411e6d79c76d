"""The policy that is trained, and the reference it is held against.

With LoRA the reference is the same model with the adapter off: no second copy, the same code path. Full
fine-tuning keeps a frozen second model, which is loaded only when something asks for live reference scores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hypo_engine.config import TrainConfig
from hypo_engine.forward.checkpointing import Recomputed
from hypo_engine.forward.logprobs import Ids
from hypo_engine.forward.lora import Merged
from hypo_engine.models.adapters import attach_lora
from hypo_engine.models.load import load_model, published_name, weights_dtype
from hypo_engine.prompts.separate import How, Joined
from hypo_engine.prompts.shared import Encoded, Trunk, packed

Encode = Callable[[Sequence[Ids]], Encoded]
ReferenceScope = Callable[[], AbstractContextManager[Encode]]


class Policy:
    """A model to train with its reference.

    Attributes:
        model: The trainable model, in evaluation mode (dropout is off throughout).
        adapted: True for LoRA, False when every weight is trained.
        shares_prompts: Whether prompts are encoded once; else each answer reads its prompt anew.
        thinking: Whether it is trained behind prompts that leave room for thoughts.
    """

    thinking = False

    def __init__(
        self,
        model: Any,
        *,
        adapted: bool,
        encode: Encode,
        reference_scope: ReferenceScope,
        shares_prompts: bool,
    ) -> None:
        self.model, self.adapted, self.shares_prompts = model, adapted, shares_prompts
        self._encode, self._reference_scope = encode, reference_scope
        self.place: Callable[[Any], None] = lambda model: None

    def encode(self, prompts: Sequence[Ids]) -> Encoded:
        """Make prompts ready for the policy."""
        return self._encode(prompts)

    @contextmanager
    def reference(self) -> Iterator[Encode]:
        """A scope without gradient that gives the reference's counterpart of :meth:`encode`."""
        with torch.no_grad(), self._reference_scope() as encode:
            yield encode

    def shard(self, shard: Callable[[Any], None]) -> None:
        """Have every model that the policy uses sharded, the reference too when it is loaded."""
        shard(self.model)
        self.place = shard

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained, in a fixed order."""
        return [p for p in self.model.parameters() if p.requires_grad]


def load_policy(
    config: TrainConfig, resolved: str, *, pad_id: int, device: torch.device, plain: bool = False
) -> Policy:
    """Load a base model and make it trainable as the configuration says.

    Args:
        plain: Use the model's own forward on whole sequences only, as sharded models need it.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: ``lora_target_modules`` names no module, or the output head.
    """
    load = _load_adapted if config.lora_r > 0 else _load_full
    return load(config, resolved, pad_id, device, plain)


def _load_adapted(
    config: TrainConfig, resolved: str, pad_id: int, device: torch.device, plain: bool
) -> Policy:
    base = load_model(resolved, dtype=weights_dtype(config.precision, device), device=device)
    model = attach_lora(
        base,
        rank=config.lora_r,
        alpha=config.lora_alpha,
        target_modules=config.lora_target_modules,
        seed=config.seed,
        base_name=published_name(config.model_name_or_path),
    )
    encode, shares = _encoder(model, pad_id, plain, recompute=config.gradient_checkpointing)
    merges = shares and base.dtype == torch.float32
    merged = Merged(model, often=config.samples_online) if merges else None

    @contextmanager
    def reference() -> Iterator[Encode]:
        with model.disable_adapter(), merged.off() if merged else nullcontext():
            yield encode

    return Policy(model, adapted=True, encode=encode, reference_scope=reference, shares_prompts=shares)


def _load_full(config: TrainConfig, resolved: str, pad_id: int, device: torch.device, plain: bool) -> Policy:
    # the trained weights are float32 in any case: steps of 1e-6 vanish in bfloat16
    half = weights_dtype(config.precision, device) is torch.bfloat16

    def load() -> Any:
        return load_model(resolved, dtype=torch.float32, device=device)

    model = load()
    encode, shares = _encoder(model, pad_id, plain, recompute=config.gradient_checkpointing, half=half)
    frozen: list[Encode] = []

    @contextmanager
    def reference() -> Iterator[Encode]:
        if not frozen:
            second = load().requires_grad_(False)
            policy.place(second)
            frozen.append(_encoder(second, pad_id, not shares, half=half)[0])
        yield frozen[0]

    policy = Policy(model, adapted=False, encode=encode, reference_scope=reference, shares_prompts=shares)
    return policy


def _encoder(
    model: Any, pad_id: int, plain: bool, *, recompute: bool = False, half: bool = False
) -> tuple[Encode, bool]:
    """How a model encodes prompts, and whether it shares them."""
    view = None if plain else packed(model, pad_id=pad_id, half=half)
    if half:
        model.forward = torch.autocast(model.device.type, dtype=torch.bfloat16)(model.forward)
    if view is None:
        run = Recomputed(model) if recompute else model
        decoding: How | None = (
            "together" if plain else None
        )  # sharded: every process calls the model as often
        return lambda prompts: Joined(run, prompts, pad_id=pad_id, decoding=decoding), False
    if recompute:
        view.recompute()
    return lambda prompts: Trunk(view, prompts), True


def make_optimizer(
    parameters: list[nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW in float32; decay on matrices only."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=learning_rate, betas=(0.9, 0.999), fused=True
    )


def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Scale gradients down to ``max_norm`` and return their norm before that."""
    return nn.utils.clip_grad_norm_(parameters, max_norm)
