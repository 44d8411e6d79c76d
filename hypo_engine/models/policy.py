"""The trained policy with its reference.

With LoRA the reference is the same model with the adapter disabled: no second copy, and the same code
path. Full fine-tuning has a second, frozen model, which is loaded when reference scores are first
computed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypo_engine.config import Need, TrainConfig
from hypo_engine.forward.grouped_lora import GroupedLora
from hypo_engine.forward.logprobs import Ids
from hypo_engine.forward.merged_lora import MergedLora
from hypo_engine.forward.mixed import has_float_activations
from hypo_engine.forward.mixed_lora import MixedLora
from hypo_engine.forward.peft_layers import ReplacedLayers
from hypo_engine.models.adapters import attach_lora
from hypo_engine.models.heads import RewardHead, ValueHead
from hypo_engine.models.load import load_frozen, load_model, published_name, weights_dtype
from hypo_engine.prompts.encoder import Encode, Encoded, PromptEncoder
from hypo_engine.seeds import derive_seed

ReferenceScope = Callable[[], AbstractContextManager[Encode]]


class Policy:
    """A trainable model with its reference.

    Attributes:
        model: The trainable model, in evaluation mode (dropout is off throughout).
        adapted: True for LoRA, False when every weight is trained.
        shares_prompts: Whether each prompt is encoded once for all its completions.
        thinking: Whether its training prompts leave thinking to the model.
        in_4bit: Whether its frozen weights are held in 4 bits.
        head: The head of a reward model; None for a model that writes.
        value_head: PPO's critic; None for other methods.
    """

    thinking = False
    in_4bit = False
    head: RewardHead | None = None
    value_head: ValueHead | None = None

    def __init__(
        self,
        model: Any,
        *,
        adapted: bool,
        encoder: PromptEncoder,
        reference_scope: ReferenceScope,
    ) -> None:
        self.model, self.adapted, self.shares_prompts = model, adapted, encoder.shares_prompts
        self._encode, self._reference_scope = encoder, reference_scope
        self.place: Callable[[Any], None] = lambda model: None

    def encode(self, prompts: Sequence[Ids]) -> Encoded:
        """Encode prompts for the policy."""
        return self._encode(prompts)

    @contextmanager
    def reference(self) -> Iterator[Encode]:
        """A scope without gradients that yields the reference's counterpart of :meth:`encode`."""
        with torch.no_grad(), self._reference_scope() as encode:
            yield encode

    def rewards(self, encoded: Encoded, rows: Sequence[int], answers: Sequence[Ids]) -> Tensor:
        """The rewards of ``answers[i]`` after prompt ``rows[i]``, at their last token: [rows] float32."""
        assert self.head is not None
        rewards: Tensor = self.head(encoded.last_hidden(rows, answers))
        return rewards

    def shard(self, shard: Callable[[Any], None]) -> None:
        """Shard every model that the policy uses, including the reference once it is loaded."""
        shard(self.model)
        self.place = shard

    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in a fixed order."""
        heads = [head for head in (self.head, self.value_head) if head is not None]
        own = [p for p in self.model.parameters() if p.requires_grad]
        return own + [p for head in heads for p in head.parameters()]


def load_policy(
    config: TrainConfig,
    resolved: str,
    *,
    pad_id: int,
    device: torch.device,
    separate: bool = False,
    adapters: Sequence[Path] = (),
) -> Policy:
    """Load a base model and make it trainable according to the configuration.

    Args:
        adapters: Merged into the base model's weights; the reference has them too.
        separate: Run every completion as a whole sequence, as sharded models require.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: ``lora_target_modules`` names no module, or the output head; or 4-bit weights are not
            possible here, or for this model.
    """
    load, read = (_load_adapted, load_frozen) if config.lora_r > 0 else (_load_full, load_model)
    policy = load(config, partial(read, resolved, device=device, adapters=adapters), pad_id, device, separate)
    policy.in_4bit = config.load_in_4bit
    hidden = policy.model.get_input_embeddings().weight.shape[1]
    if Need.VALUES in config.needs:
        policy.value_head = ValueHead(hidden, device=device)
    if not config.method.writes:
        policy.head = RewardHead(hidden, seed=derive_seed("head", config.seed), device=device)
    return policy


def _load_adapted(
    config: TrainConfig, read: Callable[..., Any], pad_id: int, device: torch.device, separate: bool
) -> Policy:
    base = read(precision=config.precision, in_4bit=config.load_in_4bit)
    half, exact = base.dtype == torch.bfloat16, has_float_activations(base)
    model = attach_lora(
        base,
        rank=config.lora_r,
        alpha=config.lora_alpha,
        target_modules=config.lora_target_modules,
        seed=config.seed,
        base_name=published_name(config.model_name_or_path),
    )
    encoder = PromptEncoder(
        model, pad_id=pad_id, checkpointing=config.gradient_checkpointing, separate=separate
    )
    lora: ReplacedLayers | None = None  # PEFT's own layers serve any model
    if half and not exact:
        lora = GroupedLora(model)
    elif encoder.shares_prompts:
        lora = MixedLora(model) if half else MergedLora(model, often=config.decodes_online)

    @contextmanager
    def reference() -> Iterator[Encode]:
        with model.disable_adapter(), lora.off() if lora else nullcontext():
            yield encoder

    return Policy(model, adapted=True, encoder=encoder, reference_scope=reference)


def _load_full(
    config: TrainConfig, read: Callable[..., Any], pad_id: int, device: torch.device, separate: bool
) -> Policy:
    # trained weights are always float32: updates of 1e-6 vanish in bfloat16
    half = weights_dtype(config.precision, device, frozen=False) is torch.bfloat16

    model = read(dtype=torch.float32)
    encoder = PromptEncoder(
        model, pad_id=pad_id, half=half, checkpointing=config.gradient_checkpointing, separate=separate
    )
    frozen: list[Encode] = []

    @contextmanager
    def reference() -> Iterator[Encode]:
        if not frozen:
            second = read(dtype=torch.float32).requires_grad_(False)
            policy.place(second)
            separately = not encoder.shares_prompts
            frozen.append(PromptEncoder(second, pad_id=pad_id, half=half, separate=separately))
        yield frozen[0]

    policy = Policy(model, adapted=False, encoder=encoder, reference_scope=reference)
    return policy
