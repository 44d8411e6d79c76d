"""The head of a reward model: a number from the hidden state of an answer's last token."""

import torch
from torch import Tensor, nn


class RewardHead(nn.Module):
    """A linear map from a hidden state to a reward, in float32.

    Attributes:
        weight: [1, hidden].
        scale: Mean and standard deviation of the reward of the reference's own answers; None before they are
            measured, after the last step. They describe the rewards and do not change them.
    """

    def __init__(self, hidden: int, *, seed: int, device: torch.device) -> None:
        """The weight is normal with standard deviation 1 / sqrt(hidden + 1), as in arXiv 2403.17031."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(1, hidden, generator=generator) / (hidden + 1) ** 0.5
        self.weight = nn.Parameter(weight.to(device))
        self.scale: tuple[float, float] | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, hidden] in any dtype -> [rows] float32."""
        return nn.functional.linear(hidden.float(), self.weight)[:, 0]
