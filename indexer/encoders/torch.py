"""PyTorch: bfloat16 on a GPU, and on processors with the instructions; the reference elsewhere."""

from __future__ import annotations

import numpy as np
import torch

from indexer.encoders.export import load_modules
from indexer.encoders.model_folder import ModelFolder


class TorchRunner:
    """Runs the sentence-transformers modules themselves, pooling and all."""

    backend = "torch"
    multiple = 8

    def __init__(self, folder: ModelFolder, *, device: str = "cpu", bfloat16: bool = True) -> None:
        """Load the model in float32 and compute in bfloat16 where asked (autocast: norms and softmax stay exact)."""
        self._modules = list(load_modules(folder, device=device))
        self._device = device
        self._bfloat16 = bfloat16
        self.token_budget = 65_536 if device.startswith("cuda") else 2048

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Turn ids and mask into rows."""
        with (
            torch.inference_mode(),
            torch.autocast(self._device.partition(":")[0], torch.bfloat16, enabled=self._bfloat16),
        ):
            features = {
                "input_ids": torch.from_numpy(ids).to(self._device),
                "attention_mask": torch.from_numpy(mask).to(self._device),
            }
            for module in self._modules:
                features = module(features)
            rows: np.ndarray = features["sentence_embedding"].float().cpu().numpy()
        return rows
