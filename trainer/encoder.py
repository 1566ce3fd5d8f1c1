"""The encoder while it learns: token ids → unit vectors with gradients, and a sentence-transformers folder in the end.

Texts are sorted by length and encoded in blocks of a bounded number of padded tokens, so that little work goes into
padding. Knows nothing of pairs, losses or evaluation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from indexer.encoders.cache import cache_root
from indexer.encoders.export import describe, load_modules
from indexer.encoders.model_folder import ModelFolder, find
from indexer.encoders.spec import Spec
from indexer.errors import ModelError
from indexer.machine import has_bfloat16 as processor_has_bfloat16
from indexer.progress import SILENT, Progress
from trainer.batch import Ids

MULTIPLE = 8  # padded lengths are multiples of it: fewer shapes, better kernels


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a text's own tokens: the special ones, and the model's prompt."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    longest: int  # tokens of the text itself that fit into the model's window


class TrainableEncoder(nn.Module):  # type: ignore[misc]
    """A sentence-transformers model in training: its modules, tokenizer and how much is encoded at once."""

    def __init__(self, folder: ModelFolder, model: Any, device: torch.device, tokens: int) -> None:
        super().__init__()
        self.folder = folder
        self.model = model
        self.device = device
        self.tokens = tokens  # padded tokens a block
        spec, tokenizer = describe(folder, model)
        self.spec: Spec = spec
        self.tokenizer = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.query_frame = frame(self.tokenizer, spec, spec.query_prompt)
        self.passage_frame = frame(self.tokenizer, spec, spec.passage_prompt)
        self.special = special_ids(self.tokenizer)

    @property
    def transformer(self) -> Any:
        """The Hugging Face model inside."""
        return self.model[0].auto_model

    @property
    def depth(self) -> int:
        """Count the layers."""
        return int(self.transformer.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Count the dimensions of a vector."""
        return self.spec.dimension

    def forward(self, texts: Sequence[Ids], *, query: bool, layers: tuple[int, ...] = ()) -> Tensor:
        """Encode texts: [S, B, D] rows of unit length, one slice for each layer asked for (none: the last), in order.

        Which texts share a block follows from their lengths alone.
        """
        pieces, order = [], []
        for block in blocks([len(ids) for ids in texts], self.tokens):
            pieces.append(self.encode_block([texts[number] for number in block], query=query, layers=layers))
            order += block
        if not pieces:
            return torch.zeros(max(1, len(layers)), 0, self.width, device=self.device)
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(pieces, dim=1)[:, back.to(self.device)]

    def encode_block(self, texts: Sequence[Ids], *, query: bool, layers: tuple[int, ...] = ()) -> Tensor:
        """Encode texts that fit into one pass: [S, B, D]."""
        edge = self.query_frame if query else self.passage_frame
        lengths = [min(len(ids), edge.longest) + len(edge.before) + len(edge.after) for ids in texts]
        padded = -(-max(lengths) // MULTIPLE) * MULTIPLE
        ids_BL = np.full((len(texts), padded), self.spec.pad_id, dtype=np.int64)
        mask_BL = np.zeros((len(texts), padded), dtype=np.int64)
        for row, (ids, length) in enumerate(zip(texts, lengths, strict=True)):
            ids_BL[row, :length] = (*edge.before, *ids[: edge.longest], *edge.after)
            mask_BL[row, :length] = 1
        features = {
            "input_ids": torch.from_numpy(ids_BL).to(self.device, non_blocking=True),
            "attention_mask": torch.from_numpy(mask_BL).to(self.device, non_blocking=True),
        }
        if not layers or layers == (self.depth,):
            return self.pooled(self.model[0](features))[None]
        states = self.transformer(**features, output_hidden_states=True).hidden_states
        return torch.stack([self.pooled({**features, "token_embeddings": states[layer]}) for layer in layers])

    def pooled(self, features: dict[str, Any]) -> Tensor:
        """Run the modules behind the transformer: token vectors → one unit vector a text, float32."""
        for module in list(self.model)[1:]:
            features = module(features)
        return functional.normalize(features["sentence_embedding"].float(), dim=1)

    def encode(self, texts: Sequence[Ids], *, query: bool, progress: Progress = SILENT) -> np.ndarray:
        """Encode texts for an evaluation, without dropout and gradients: float32 [n, D]."""
        was_training = self.training
        self.eval()
        rows = np.empty((len(texts), self.width), dtype=np.float32)
        with torch.no_grad(), autocast(self.device):
            for block in blocks([len(ids) for ids in texts], self.tokens):
                vectors = self.encode_block([texts[number] for number in block], query=query)
                rows[block] = vectors[0].cpu().numpy()
                progress.advance(len(block))
        self.train(was_training)
        return rows

    def tokens_of(self, text: str) -> Ids:
        """Tokenise one text, without special tokens."""
        return np.asarray(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)

    def twin(self) -> TrainableEncoder:
        """Copy the encoder: same weights, none shared, no gradient, no dropout."""
        other = copy.deepcopy(self)
        other.requires_grad_(False)
        other.eval()
        return other

    def save(self, target: Path) -> None:
        """Write a sentence-transformers folder (safetensors), which ``--model`` takes as it is."""
        self.model.save_pretrained(str(target), safe_serialization=True, create_model_card=False)


def load_trainable(
    model: str | Path | None,
    *,
    device: torch.device,
    tokens: int,
    dropout: float | None = None,
    from_scratch: int | None = None,
    checkpointing: bool = False,
    progress: Progress = SILENT,
) -> TrainableEncoder:
    """Load a model for training: None is the default one, else a folder or a name.

    ``dropout`` sets every dropout's rate, None leaves the model's own. ``from_scratch`` draws all weights anew from
    that seed. ``checkpointing`` recomputes activations in the backward pass instead of keeping them.
    """
    folder = find(model, cache_root(progress))
    # on processors the plain form of attention is twice as fast in bfloat16 as torch's fused one (docs/training.md)
    loaded = load_modules(folder, device=str(device), attention="eager" if device.type == "cpu" else "sdpa")
    encoder = TrainableEncoder(folder, loaded, device, tokens)
    if from_scratch is not None:
        torch.manual_seed(from_scratch)
        fresh = type(encoder.transformer)(encoder.transformer.config)
        encoder.transformer.load_state_dict(fresh.state_dict())
    if dropout is not None:
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    if checkpointing:
        encoder.transformer.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    encoder.model.requires_grad_(True)
    encoder.train()
    return encoder


def frame(tokenizer: Tokenizer, spec: Spec, prompt: str) -> Frame:
    """Find which tokens the model wants before and after a text."""
    whole = tokenizer.encode("a").ids
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    place = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), None)
    if place is None:
        raise ModelError(f"{spec.name}: its tokenizer changes a text's tokens where it adds special ones")
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False).ids if prompt else []
    before, after = (*whole[:place], *prompt_ids), tuple(whole[place + len(bare) :])
    return Frame(before, after, spec.max_length - len(before) - len(after))


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """List the ids of special tokens, which no corruption may insert."""
    return frozenset(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def blocks(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Group texts of like length, longest first, so that rows × padded length stays within ``tokens``.

    A text longer than that stands alone.
    """
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    while order:
        rows = max(1, tokens // max(1, -(-(lengths[order[0]] + 2) // MULTIPLE) * MULTIPLE))
        yield order[:rows]
        order = order[rows:]


def autocast(device: torch.device, *, enabled: bool | None = None) -> AbstractContextManager[Any]:
    """Compute in bfloat16 where the device has the instructions; norms and softmax stay exact.

    One context around a whole step: the weights are then converted once and not once a block.
    """
    if enabled is None:
        enabled = has_bfloat16(device)
    context: AbstractContextManager[Any] = torch.autocast(device.type, torch.bfloat16, enabled=enabled)
    return context


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return processor_has_bfloat16()


def best_device(asked: str = "auto") -> torch.device:
    """Choose the device: the first GPU where there is one."""
    if asked != "auto":
        return torch.device(asked)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
