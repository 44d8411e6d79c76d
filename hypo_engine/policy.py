"""The policy that is trained, and the reference it is held against.

With LoRA the reference is the same model with the adapter off: no second copy, the same code path. Full
fine-tuning keeps a frozen second model, which is loaded only when something asks for live reference scores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hypo_engine.adapters import attach_lora
from hypo_engine.config import TrainConfig
from hypo_engine.models import load_model, published_name, weights_dtype
from hypo_engine.trunk import Encoded, Ids, Joined, Trunk, trunk_agrees


class Policy:
    """A model to train with its reference.

    Attributes:
        model: The trainable model, in evaluation mode (dropout is off throughout).
        adapted: True for LoRA, False when every weight is trained.
    """

    def __init__(
        self,
        model: Any,
        *,
        adapted: bool,
        reference_scope: Callable[[], AbstractContextManager[Any]],
        pad_id: int,
        gradient_checkpointing: bool = False,
        plain: bool = False,
    ) -> None:
        self.model, self.adapted = model, adapted
        self._reference_scope, self._pad_id = reference_scope, pad_id
        self._checkpointed = _Checkpointed(model) if gradient_checkpointing else None
        self.shares_prompts = not plain and trunk_agrees(model, pad_id=pad_id)
        self.place: Callable[[Any], None] = lambda model: None

    def encode(self, prompts: Sequence[Ids]) -> Encoded:
        """Make prompts ready for the policy."""
        if self._checkpointed and torch.is_grad_enabled():
            return Joined(self._checkpointed, prompts, pad_id=self._pad_id)
        return self._encode(self.model, prompts)

    @contextmanager
    def reference(self) -> Iterator[Callable[[Sequence[Ids]], Encoded]]:
        """A scope without gradient that gives the reference's counterpart of :meth:`encode`."""
        with torch.no_grad(), self._reference_scope() as model:
            yield lambda prompts: self._encode(model, prompts)

    def shard(self, shard: Callable[[Any], None]) -> None:
        """Have every model that the policy uses sharded, the reference too when it is loaded."""
        shard(self.model)
        self.place = shard

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained, in a fixed order."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def _encode(self, model: Any, prompts: Sequence[Ids]) -> Encoded:
        return (Trunk if self.shares_prompts else Joined)(model, prompts, pad_id=self._pad_id)


class _Checkpointed:
    """A model that trains with gradient checkpointing: transformers checkpoints in training mode only."""

    def __init__(self, model: Any) -> None:
        self._model, self.device = model, model.device
        # the first is the second's new name in transformers
        name = "activation_checkpointing_enable"
        enable = getattr(model, name, None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})

    def __call__(self, **inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._model(**inputs)
        self._model.train()
        try:
            return self._model(**inputs)
        finally:
            self._model.eval()


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
    if config.lora_r > 0:
        base = load_model(resolved, dtype=weights_dtype(config.precision, device), device=device)
        model = attach_lora(
            base,
            rank=config.lora_r,
            alpha=config.lora_alpha,
            target_modules=config.lora_target_modules,
            seed=config.seed,
            base_name=published_name(config.model_name_or_path),
        )
        return Policy(
            model,
            adapted=True,
            reference_scope=lambda: _adapter_off(model),
            pad_id=pad_id,
            gradient_checkpointing=config.gradient_checkpointing,
            plain=plain,
        )
    return _load_full(config, resolved, pad_id=pad_id, device=device, plain=plain)


def _load_full(
    config: TrainConfig, resolved: str, *, pad_id: int, device: torch.device, plain: bool
) -> Policy:
    # the trained weights are float32 in any case: steps of 1e-6 vanish in bfloat16
    half = weights_dtype(config.precision, device) is torch.bfloat16

    def load() -> Any:
        model = load_model(resolved, dtype=torch.float32, device=device)
        if half:
            model.forward = torch.autocast(device.type, dtype=torch.bfloat16)(model.forward)
        return model

    model = load()
    frozen: list[Any] = []

    @contextmanager
    def reference() -> Iterator[Any]:
        if not frozen:
            frozen.append(load().requires_grad_(False))
            policy.place(frozen[0])
        yield frozen[0]

    policy = Policy(
        model,
        adapted=False,
        reference_scope=reference,
        pad_id=pad_id,
        gradient_checkpointing=config.gradient_checkpointing,
        plain=plain,
    )
    return policy


@contextmanager
def _adapter_off(model: Any) -> Iterator[Any]:
    with model.disable_adapter():
        yield model


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
