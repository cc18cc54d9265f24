"""GradientNorms: the norm of the gradient of each optimizer step, before it is clipped.

The algorithms of Stable-Baselines3 clip the gradient and drop its norm. Hooks note it: one on each
parameter, after a backward pass has added to its gradient, and one before each optimizer step.
"""

# Torch types these hooks in part.
# pyright: reportUnknownMemberType=false

from typing import Any

import torch
from torch import Tensor


class GradientNorms:
    """Notes the norms of a policy's gradients.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.SGD(layer.parameters())
    >>> norms = GradientNorms(layer, optimizer)
    >>> layer(torch.tensor([3.0, 4.0])).sum().backward()
    >>> _ = torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    >>> optimizer.step()
    >>> round(norms.take_mean(), 4), norms.take_mean()
    (5.0, None)
    """

    def __init__(self, policy: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put hooks on the parameters of a policy, and on its optimizer."""
        self._squares: dict[Tensor, Tensor] = {}
        self._norms: list[Tensor] = []
        for parameter in policy.parameters():
            parameter.register_post_accumulate_grad_hook(self._note)
        optimizer.register_step_pre_hook(self._end)

    def take_mean(self) -> float | None:
        """Return the mean norm over the steps since the last call; None without a step."""
        found, self._norms = self._norms, []
        return float(torch.stack(found).mean()) if found else None

    def _note(self, parameter: Tensor) -> None:
        # A later backward pass of the same step adds to the gradient: its square replaces this one.
        assert parameter.grad is not None, "called after a gradient was added"
        self._squares[parameter] = parameter.grad.square().sum()

    def _end(self, *_: Any) -> None:
        if self._squares:
            self._norms.append(torch.stack(list(self._squares.values())).sum().sqrt())
        self._squares = {}
