"""Heads with one output: the reward of an answer, and the value of every token of a sample."""

import torch
from torch import Tensor, nn


class ScalarHead(nn.Module):
    """A linear map from a hidden state to a number, in float32.

    Attributes:
        weight: [1, hidden].
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, hidden] in any dtype -> [rows] float32."""
        return nn.functional.linear(hidden.float(), self.weight)[:, 0]


class RewardHead(ScalarHead):
    """The head of a reward model, which reads the hidden state of an answer's last token.

    Attributes:
        scale: Mean and standard deviation of the reward of the reference's own answers; None before they are
            measured, after the last step. They describe the rewards and do not change them.
    """

    def __init__(self, hidden: int, *, seed: int, device: torch.device) -> None:
        """The weight is normal with standard deviation 1 / sqrt(hidden + 1), as in arXiv 2403.17031."""
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(1, hidden, generator=generator) / (hidden + 1) ** 0.5
        super().__init__(weight.to(device))
        self.scale: tuple[float, float] | None = None


class ValueHead(ScalarHead):
    """PPO's critic: the expected reward from a token on, from the hidden state that predicts the token.

    The weight starts at zero, and so does every value.
    """

    def __init__(self, hidden: int, *, device: torch.device) -> None:
        super().__init__(torch.zeros(1, hidden, device=device))

    def values(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[tokens, hidden], the tokens of all rows in order -> the shape of the mask, zero on padding."""
        empty = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
        return empty.masked_scatter(mask, self(hidden))
