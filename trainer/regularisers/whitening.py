"""Whitening: contrast vectors whose dimensions, within a batch, are uncorrelated and of equal spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from indexer.errors import UsageError
from trainer.batch import Contrast
from trainer.objectives.similarity import precise
from trainer.regularisers.plain import Plain
from trainer.settings import within

FLOOR = 1e-6  # added to every variance: a batch of one point has none at all


@dataclass(frozen=True, slots=True)
class Whitening(Plain):
    """The objective on vectors whitened by the batch's own mean and covariance (ZCA), in training only.

    ``groups`` splits the dimensions into as many equal runs, each whitened by itself. ``shrinkage``, above 0, is the
    share of the mean variance mixed into the covariance, so that batches smaller than a group are fine too. Queries,
    passages and queued keys go through one transform, measured on the queries and passages of the batch.
    Raises UsageError for a setting out of its range, and in ``check`` for a width that does not split into the groups.
    Source: WhitenedCSE, Zhuo et al., arXiv:2305.17746, without its shuffling of dimensions between groups.
    """

    groups: int = 1
    shrinkage: float = 0.1

    def __post_init__(self) -> None:
        within("groups", self.groups, 1, whole=True)
        within("shrinkage", self.shrinkage, 1e-3, 1)

    def check(self, width: int) -> None:
        """Refuse a model whose dimensions do not split into equal groups."""
        if width % self.groups:
            raise UsageError(f"groups must divide the model's width, {width}, not be {self.groups}")

    def __call__(self, objective: Callable[[Contrast], Tensor], contrasts: list[Contrast]) -> Tensor:
        """Compute the objective of the full model's contrast, whitened."""
        contrast = contrasts[-1]
        with torch.autocast(contrast.query_BD.device.type, enabled=False):
            return objective(self._whitened(contrast))

    def _whitened(self, contrast: Contrast) -> Contrast:
        query_BD, passage_PD = precise(contrast.query_BD), precise(contrast.passage_PD)
        mean_D, transform_GCC = zca(torch.cat([query_BD, passage_PD]), self.groups, self.shrinkage)
        queue = contrast.queue_ND
        return replace(
            contrast,
            query_BD=whiten(query_BD, mean_D, transform_GCC),
            passage_PD=whiten(passage_PD, mean_D, transform_GCC),
            queue_ND=None if queue is None else whiten(precise(queue), mean_D, transform_GCC),
        )


def zca(vector_BD: Tensor, groups: int, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Measure the transform that whitens vectors: their mean [D] and a symmetric matrix a group [G, D/G, D/G].

    Source: ZCA, Bell and Sejnowski, 1997; shrinkage to the mean variance, Ledoit and Wolf, 2004.
    """
    mean_D = vector_BD.mean(dim=0)
    part_GBC = (vector_BD - mean_D).unflatten(1, (groups, -1)).transpose(0, 1)
    covariance_GCC = part_GBC.transpose(1, 2) @ part_GBC / len(vector_BD)
    variance_G11 = covariance_GCC.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    identity_CC = torch.eye(covariance_GCC.shape[1], dtype=vector_BD.dtype, device=vector_BD.device)
    shrunk_GCC = (1 - shrinkage) * covariance_GCC + (shrinkage * variance_G11 + FLOOR) * identity_CC
    return mean_D, InverseRoot.apply(shrunk_GCC)


def whiten(vector_BD: Tensor, mean_D: Tensor, transform_GCC: Tensor) -> Tensor:
    """Whiten vectors and bring them to unit length: [B, D] → [B, D]; one at the very mean becomes (nearly) 0."""
    part_GBC = (vector_BD - mean_D).unflatten(1, (len(transform_GCC), -1)).transpose(0, 1)
    white_BD = (part_GBC @ transform_GCC).transpose(0, 1).flatten(1)
    return functional.normalize(white_BD, dim=1, eps=1e-3)


class InverseRoot(torch.autograd.Function):  # type: ignore[misc]  # mypy follows no import into torch
    """A^-1/2 of symmetric positive definite matrices, with a gradient that equal eigenvalues do not break.

    That of eigh divides by the eigenvalues' differences, and shrinkage makes many of them equal. The derivative of the
    root itself (Daleckii and Krein, 1965) has the divided differences -1 / (√a √b (√a + √b)), finite for all a, b > 0.
    """

    @staticmethod
    def forward(ctx, matrix_GCC: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """Take the root: [..., C, C] → [..., C, C]."""
        values, vectors = torch.linalg.eigh(matrix_GCC)
        root = values.clamp(min=FLOOR / 2).sqrt()  # rounding may put an eigenvalue below the floor it was given
        ctx.save_for_backward(root, vectors)
        return (vectors / root[..., None, :]) @ vectors.mT

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """Carry the gradient through the root."""
        root, vectors = ctx.saved_tensors
        a, b = root[..., :, None], root[..., None, :]
        inner = vectors.mT @ ((gradient + gradient.mT) / 2) @ vectors
        return vectors @ (-inner / (a * b * (a + b))) @ vectors.mT
