"""The weights that a run ends with: the mean over its last part, mixed with those it began with.

Source: Izmailov et al., "Averaging weights leads to wider optima", arXiv:1803.05407; Wortsman et al., "Robust
fine-tuning of zero-shot models", arXiv:2109.01903.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainer import checkpoint


class Averaging:
    """Collects weights after each step; ``mean_share`` is the last part of the run, ``start_share`` what is kept."""

    def __init__(self, encoder: nn.Module, mean_share: float, start_share: float) -> None:
        """Take the encoder as the run finds it."""
        self.mean_share, self.start_share = mean_share, start_share
        self.start = checkpoint.weights(encoder) if start_share else None
        self.mean: dict[str, Tensor] = {}
        self.count = 0

    def add(self, encoder: nn.Module, done: float) -> None:
        """Count the weights in once ``done``, the share of the run behind them, reaches its last part."""
        if not self.mean_share or done < 1 - self.mean_share:
            return
        self.count += 1
        for name, tensor in encoder.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if self.count == 1:
                self.mean[name] = tensor.detach().float().clone()
            else:
                self.mean[name].lerp_(tensor.detach().float(), 1 / self.count)

    def apply(self, encoder: nn.Module) -> None:
        """Give the encoder the averaged weights."""
        weights = {name: self.mean.get(name, tensor) for name, tensor in encoder.state_dict().items()}
        if self.start is not None:
            weights = {
                name: torch.lerp(tensor.float().cpu(), self.start[name].float(), self.start_share)
                if tensor.is_floating_point()
                else tensor
                for name, tensor in weights.items()
            }
        encoder.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs; the starting weights are those it starts with again."""
        return {"mean": self.mean, "count": self.count}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up a checkpoint's."""
        self.mean = {name: tensor.to(device) for name, tensor in state["mean"].items()}
        self.count = int(state["count"])
