"""What flows through a step: Piece → Pair → Batch (token ids) → Contrast (vectors).

Dimension letters: B anchors, P passages, N queued keys, C candidates with a teacher's score, D width.
Knows nothing of how texts are read or encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Ids = np.ndarray  # int32 [tokens], without special tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that a view makes a pair of: a window of one document's body, its title, and the document's number."""

    document: int
    title: Ids
    body: Ids


@dataclass(frozen=True, slots=True)
class Pair:
    """One example: the anchor searches, the positive should be found.

    ``document`` is whose text the positive is; ``own`` are documents that are no negatives of this anchor. Candidates
    beside the positive (mined negatives) are in ``negatives``, their documents in ``negative_documents``; ``teacher``
    scores the positive and then each negative, where a teacher gave scores or the qrels grades.
    """

    anchor: Ids
    positive: Ids
    document: int
    own: frozenset[int]
    negatives: tuple[Ids, ...] = ()
    negative_documents: tuple[int, ...] = ()
    teacher: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs side by side: ``anchors`` [B], ``passages`` [P] of which ``target_B`` is each anchor's positive.

    ``excluded_BP`` marks passages that must not count as an anchor's negatives. ``listed_BC`` names the passages that
    ``teacher_BC`` scores, positive first, -1 where an anchor has fewer. ``candidates`` are each anchor's own passages,
    positive first: what a model reads together with it that reads pairs. ``beside_BP`` is what is added to the cosines
    in a score and not learnt.
    """

    anchors: list[Ids]
    passages: list[Ids]
    documents: list[int]
    own: list[frozenset[int]]
    target_B: Tensor
    excluded_BP: Tensor
    listed_BC: Tensor | None = None
    teacher_BC: Tensor | None = None
    candidates: tuple[tuple[int, ...], ...] = ()
    beside_BP: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Contrast:
    """A batch as unit vectors, or as scores of pairs; everything an objective may look at.

    query [B, D], passage [P, D], target [B] into P, excluded [B, P]; queue [N, D] holds more negatives, shared by all
    anchors, without gradient, and queue_excluded [B, N] marks those that are none for an anchor. listed and teacher
    [B, C] as in Batch. A model that reads pairs has no vectors (D is 0) but gives score [B, P] itself; what it did not
    read is excluded. beside [B, P] as in Batch. start_query [B, D] and start_passage [P, D] are the starting model's
    vectors, where asked for.
    """

    query_BD: Tensor
    passage_PD: Tensor
    target_B: Tensor
    excluded_BP: Tensor
    queue_ND: Tensor | None = None
    queue_excluded_BN: Tensor | None = None
    listed_BC: Tensor | None = None
    teacher_BC: Tensor | None = None
    score_BP: Tensor | None = None
    beside_BP: Tensor | None = None
    start_query_BD: Tensor | None = None
    start_passage_PD: Tensor | None = None

    def truncated(self, width: int) -> Contrast:
        """Keep the first ``width`` dimensions of every vector, of unit length again."""
        queue = self.queue_ND
        return replace(
            self,
            query_BD=functional.normalize(self.query_BD[:, :width], dim=1),
            passage_PD=functional.normalize(self.passage_PD[:, :width], dim=1),
            queue_ND=None if queue is None else functional.normalize(queue[:, :width], dim=1),
        )


def collate(pairs: list[Pair]) -> Batch:
    """Put pairs side by side: positives, then negatives, each different text once.

    A passage is excluded for an anchor when it is of one of the anchor's own documents and not its target, and when
    its text is the target's over again.
    """
    place: dict[tuple[int, bytes], int] = {}
    passages: list[Ids] = []
    documents: list[int] = []

    def put(document: int, ids: Ids) -> int:
        key = (document, ids.tobytes())
        if key not in place:
            place[key] = len(passages)
            passages.append(ids)
            documents.append(document)
        return place[key]

    targets = [put(pair.document, pair.positive) for pair in pairs]
    listed = [
        [put(document, ids) for document, ids in zip(pair.negative_documents, pair.negatives, strict=True)]
        for pair in pairs
    ]
    known: dict[bytes, int] = {}
    texts = np.array([known.setdefault(ids.tobytes(), len(known)) for ids in passages])
    column = np.asarray(documents)
    excluded = np.zeros((len(pairs), len(passages)), dtype=bool)
    for row, (pair, target) in enumerate(zip(pairs, targets, strict=True)):
        excluded[row] = np.isin(column, list(pair.own)) | (texts == texts[target])
        excluded[row, target] = False
    listed_BC = teacher_BC = None
    if any(pair.teacher is not None for pair in pairs) or any(pair.negatives for pair in pairs):
        width = 1 + max(len(pair.negatives) for pair in pairs)
        listed_BC = torch.full((len(pairs), width), -1)
        teacher_BC = torch.zeros(len(pairs), width)
        for row, (pair, target, others) in enumerate(zip(pairs, targets, listed, strict=True)):
            if pair.teacher is not None:
                listed_BC[row, : len(others) + 1] = torch.tensor([target, *others])
                teacher_BC[row, : len(others) + 1] = torch.tensor(pair.teacher)
    return Batch(
        anchors=[pair.anchor for pair in pairs],
        passages=passages,
        documents=documents,
        own=[pair.own for pair in pairs],
        target_B=torch.tensor(targets),
        excluded_BP=torch.from_numpy(excluded),
        listed_BC=listed_BC,
        teacher_BC=teacher_BC,
        candidates=tuple((target, *others) for target, others in zip(targets, listed, strict=True)),
    )
