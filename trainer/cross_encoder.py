"""The cross-encoder while it learns: pairs of token ids → scores with gradients, a CrossEncoder folder in the end.

Made of an encoder: its transformer and pooling, and a new linear layer that turns the pooled vector of both texts into
one score. Knows nothing of losses, negatives or evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from indexer.encoders.model_folder import ModelFolder
from indexer.encoders.spec import Spec
from indexer.errors import ModelError
from trainer.batch import Ids
from trainer.encoder import MULTIPLE, Frame, TrainableEncoder, autocast, blocks


@dataclass(frozen=True, slots=True)
class PairFrame:
    """The special tokens before, between and after two texts, and how many tokens of theirs fit in."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    longest: int

    def join(self, query: Ids, passage: Ids) -> tuple[np.ndarray, np.ndarray]:
        """Put a pair into one sequence: ids and segments (0 up to the query's end, then 1), int64 [tokens].

        The longer text gives way where both do not fit.
        """
        room = max(self.longest - min(len(query), len(passage)), self.longest // 2)
        query, passage = query[:room], passage[:room]
        passage = passage[: self.longest - len(query)]
        ids = np.array([*self.before, *query, *self.between, *passage, *self.after], dtype=np.int64)
        segments = np.ones_like(ids)
        segments[: len(self.before) + len(query) + len(self.between)] = 0
        return ids, segments


class TrainableCrossEncoder(nn.Module):  # type: ignore[misc]
    """Transformer, pooling and a layer that scores, in training; how much is read at once."""

    def __init__(self, encoder: TrainableEncoder, seed: int) -> None:
        """Take over an encoder's modules; the scoring layer's weights are drawn by ``seed``.

        Raises ModelError for an encoder whose vector is not pooled from tokens straight away.
        """
        from sentence_transformers.base.modules import Dense

        super().__init__()
        kinds = [type(module).__name__ for module in encoder.model]
        if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - {"Normalize", "Dropout"}:
            raise ModelError(f"{encoder.folder.path}: a cross-encoder is made of Transformer and Pooling, not {kinds}")
        torch.manual_seed(seed)
        pooling = encoder.model[1]
        scoring = Dense(
            pooling.get_embedding_dimension(),
            1,
            activation_function=nn.Identity(),
            module_input_name="sentence_embedding",
            module_output_name="scores",
        )
        self.model = nn.ModuleList([encoder.model[0], pooling, scoring.to(encoder.device)])
        self.folder: ModelFolder = encoder.folder
        self.spec: Spec = encoder.spec
        self.device = encoder.device
        self.tokens = encoder.tokens  # padded tokens a block
        self.tokenizer = encoder.tokenizer
        self.passage_frame: Frame = encoder.passage_frame
        self.special = encoder.special
        self.depth = encoder.depth
        self.width = encoder.width
        self.frame = pair_frame(encoder.tokenizer, encoder.spec)
        self.segments = "token_type_ids" in encoder.model.tokenizer.model_input_names

    def forward(self, pairs: Sequence[tuple[Ids, Ids]]) -> Tensor:
        """Score pairs of a query and a passage: [n]. Which share a block follows from their lengths alone."""
        pieces, order = [], []
        for block in self.blocks(pairs):
            pieces.append(self.score_block([pairs[number] for number in block]))
            order += block
        if not pieces:
            return torch.zeros(0, device=self.device)
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(pieces)[back.to(self.device)]

    def blocks(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[list[int]]:
        """Group pairs of like length."""
        return list(blocks([len(query) + len(passage) for query, passage in pairs], self.tokens))

    def score_block(self, pairs: Sequence[tuple[Ids, Ids]]) -> Tensor:
        """Score pairs that fit into one pass: [n], float32."""
        joined = [self.frame.join(query, passage) for query, passage in pairs]
        padded = -(-max(len(ids) for ids, _ in joined) // MULTIPLE) * MULTIPLE
        ids_BL = np.full((len(pairs), padded), self.spec.pad_id, dtype=np.int64)
        mask_BL, segments_BL = np.zeros_like(ids_BL), np.zeros_like(ids_BL)
        for row, (ids, segments) in enumerate(joined):
            ids_BL[row, : len(ids)], mask_BL[row, : len(ids)], segments_BL[row, : len(ids)] = ids, 1, segments
        features: dict[str, Any] = {
            "input_ids": torch.from_numpy(ids_BL).to(self.device, non_blocking=True),
            "attention_mask": torch.from_numpy(mask_BL).to(self.device, non_blocking=True),
        }
        if self.segments:
            features["token_type_ids"] = torch.from_numpy(segments_BL).to(self.device, non_blocking=True)
        for module in self.model:
            features = module(features)
        return features["scores"][:, 0].float()

    def score(self, pairs: Sequence[tuple[Ids, Ids]]) -> np.ndarray:
        """Score pairs for an evaluation, without dropout and gradients: float32 [n]."""
        was_training = self.training
        self.eval()
        with torch.no_grad(), autocast(self.device):
            scores: np.ndarray = self(pairs).cpu().numpy()
        self.train(was_training)
        return scores

    def tokens_of(self, text: str) -> Ids:
        """Tokenise one text, without special tokens."""
        return np.asarray(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)

    def save(self, target: Path) -> None:
        """Write a sentence-transformers CrossEncoder folder, which ``--rerank`` takes as it is."""
        from sentence_transformers import CrossEncoder

        whole = CrossEncoder(modules=list(self.model), device=str(self.device), activation_fn=nn.Identity())
        whole.save_pretrained(str(target), safe_serialization=True, create_model_card=False)


def pair_frame(tokenizer: Tokenizer, spec: Spec) -> PairFrame:
    """Find which tokens the model wants around and between two texts. Raises ModelError where that cannot be told."""
    first, second = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("a", "b"))
    whole = tokenizer.encode("a", "b").ids
    starts = [at for at in range(len(whole)) if whole[at : at + len(first)] == first]
    ends = [at for at in range(len(whole)) if whole[at : at + len(second)] == second]
    if not starts or not ends or ends[-1] < starts[0] + len(first):
        raise ModelError(f"{spec.name}: its tokenizer changes a text's tokens where it joins two of them")
    before, between = tuple(whole[: starts[0]]), tuple(whole[starts[0] + len(first) : ends[-1]])
    after = tuple(whole[ends[-1] + len(second) :])
    return PairFrame(before, between, after, spec.max_length - len(before) - len(between) - len(after))
