"""PEFT's LoRA layers in a model, and the layers that read the same input."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SIDE_BY_SIDE = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of attention and feed-forward layers that read the same input."""


def adapted_layers(model: Any) -> list[Any]:
    """PEFT's LoRA layers, in the model's order."""
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


class ReplacedLayers:
    """Forwards of ours in the place of PEFT's, with a switch for the adapter.

    Each has the attribute ``on``. Layers that read the same input get a common one, their module's ``joint``.
    """

    def __init__(self, model: Any, own: Mapping[Any, Any], join: Callable[[list[Any]], Any]) -> None:
        """own: Our forward of each replaced layer; join: makes a common one of several."""
        self._own = list(own.values())
        for module in model.modules():
            for names in SIDE_BY_SIDE:
                parts = [own.get(getattr(module, name, None)) for name in names]
                if None not in parts:
                    module.joint = join(parts)

    @contextmanager
    def off(self) -> Iterator[None]:
        """A scope with the base model alone, which is the reference."""
        for forward in self._own:
            forward.on = False
        try:
            yield
        finally:
            for forward in self._own:
                forward.on = True
