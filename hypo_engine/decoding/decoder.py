"""A packed model with the fastest decoding step that its device and its architecture allow."""

from typing import Any

from hypo_engine.decoding.cpu_step import CompiledStep
from hypo_engine.decoding.cuda_graph import RecordedStep
from hypo_engine.decoding.protocol import FastStep
from hypo_engine.forward.four_bit import is_four_bit
from hypo_engine.forward.packed import Packed


class Decoder(Packed):
    """A packed model with a decoding step.

    Attributes:
        step: A step that is faster than the model's modules; None if there is none.
    """

    def __init__(self, model: Any, *, half: bool = False) -> None:
        """``half``: a float32 model that computes in bfloat16 (autocast)."""
        super().__init__(model, half=half)
        self.step: FastStep | None = self._fast_step()

    def _fast_step(self) -> FastStep | None:
        if any(is_four_bit(layer) for layer in self.body.modules()):
            return None  # C has no 4-bit products, and no recording of bitsandbytes' was tried
        if self.device.type == "cuda":
            return None if self.half else RecordedStep(self)  # autocast would cast all weights in every step
        return CompiledStep.of(self.body, self.head.weight) if self.head.is_plain else None
