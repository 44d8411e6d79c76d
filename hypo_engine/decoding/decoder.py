"""A packed model with the fastest way to decode that its device and its form allow."""

from typing import Any

from hypo_engine.decoding.cpu_step import CompiledStep
from hypo_engine.decoding.cuda_graph import RecordedStep
from hypo_engine.decoding.protocol import FastStep
from hypo_engine.forward.packed import Packed


class Decoder(Packed):
    """A packed model that decodes too.

    Attributes:
        step: A faster way to decode than through the model's modules, where there is one.
    """

    def __init__(self, model: Any, *, half: bool = False) -> None:
        """``half``: a float32 model that computes in bfloat16 (autocast)."""
        super().__init__(model, half=half)
        self.step: FastStep | None = self._fast_step()

    def _fast_step(self) -> FastStep | None:
        if self.device.type == "cuda":
            return None if self.half else RecordedStep(self)  # autocast would cast all weights in each step
        return CompiledStep.of(self.body, self.head.weight) if self.head.is_plain else None
