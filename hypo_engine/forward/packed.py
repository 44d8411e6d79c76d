"""A causal language model in two parts: a body that runs packed tokens, and a head for some of them.

Any transformers model that uses the attention interface can be packed. Whether a model does is tested on
loading; see :func:`hypo_engine.prompts.packing.try_packing`.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from hypo_engine.forward.checkpointing import enable, recomputing, unwrapped
from hypo_engine.forward.head import Head
from hypo_engine.forward.interface import NAME, Pass, register
from hypo_engine.forward.phases import phase


def base_model(model: Any) -> Any:
    """transformers' model, unwrapped from PEFT's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def takes_argument(model: Any, name: str) -> bool:
    """Whether a model's forward has an argument of this name."""
    return name in inspect.signature(type(base_model(unwrapped(model))).forward).parameters


class Packed:
    """A model's body and head.

    Attributes:
        config: Configuration of the text model.
        head: From hidden states to log-probabilities.
        device: Device of the input tokens.
        body: The model without its head.
        half: Whether a float32 model computes in bfloat16.
    """

    def __init__(self, model: Any, *, half: bool = False) -> None:
        """``half``: a float32 model that computes in bfloat16 (autocast)."""
        register()
        base = base_model(model)
        base.set_attn_implementation(NAME)
        self.model, self.body = model, base.base_model
        self.device: torch.device = base.device
        self.config, head = base.config.get_text_config(), base.get_output_embeddings()
        self.head = Head(
            head.weight,
            getattr(head, "bias", None),
            softcap=getattr(self.config, "final_logit_softcapping", None),
            dtype=torch.bfloat16 if half else None,
        )
        self.half, self._recomputes = half, False

    def recompute(self) -> None:
        """Enable gradient checkpointing."""
        enable(self.model)
        self._recomputes = True

    def hidden(self, ids: Sequence[int] | Tensor, positions: Sequence[int] | Tensor, tree: Pass) -> Tensor:
        """The last hidden states of packed tokens: [tokens, hidden]."""
        with self._precision(), self._recomputing():
            output = self.body(
                input_ids=torch.as_tensor(ids, device=self.device)[None],
                position_ids=torch.as_tensor(positions, device=self.device)[None],
                attention_mask=self._no_mask(),
                use_cache=False,
                tree=tree,
            )
        hidden: Tensor = output.last_hidden_state.squeeze(0)
        return hidden

    def logps(self, hidden: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
        """log softmax(logits / temperature)[targets], all [tokens]; see :class:`Head`."""
        with phase("head"):
            return self.head.logps(hidden, targets, temperature.reciprocal())

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.half else nullcontext()

    def _recomputing(self) -> AbstractContextManager[None]:
        return recomputing(self.body) if self._recomputes else nullcontext()

    def _no_mask(self) -> Tensor:
        """A mask that transformers accepts as final, so that it builds none; the pass applies its own."""
        return torch.zeros(1, 1, 1, 1, device=self.device)


Route = Callable[[Sequence[int]], None]
"""Called with the prompt row of every token before the model runs them, to select adapters by row."""


def everywhere_the_same(_rows: Sequence[int]) -> None:
    """The route of a model without adapters by row."""
