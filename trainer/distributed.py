"""Several processes, one batch: each encodes a share of the texts, all see all vectors, gradients are summed.

Every process computes the loss of the whole batch; only its own rows carry a gradient. So two processes with half the
texts each give, to the last sum, what one gives with all of them, for any objective. Started by ``torchrun`` or
``accelerate launch``; without either there is one process and nothing below communicates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from indexer.errors import UsageError

Made = TypeVar("Made")


def start(device: torch.device) -> torch.device:
    """Join the processes that a launcher started; return this one's device. Does nothing without a launcher."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"the processes cannot find each other: {error} (start them with torchrun)") from error
    return device


def stop() -> None:
    """Leave the group of processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world() -> int:
    """Count the processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number this process, from 0; process 0 alone prints and writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Tell, also before the processes have met, whether this is process 0."""
    return os.environ.get("RANK", "0") == "0"


def share(lengths: Sequence[int]) -> list[int]:
    """Choose this process's texts: dealt out by length, so that all have about the same work."""
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    return order[rank() :: world()]


def encode(encoder: Callable[..., Tensor], texts: Sequence[Any], **options: Any) -> Tensor:
    """Let every process encode its share of the texts and gather all vectors: [S, n, D]."""
    lengths = [len(ids) for ids in texts]
    return gather(encoder([texts[number] for number in share(lengths)], **options), lengths)


def gather(rows_SBD: Tensor, lengths: Sequence[int]) -> Tensor:
    """Put every process's rows into the order of the texts: [S, own, D] → [S, all, D].

    Gradients flow to this process's own rows only. ``lengths`` are those that ``share`` dealt by.
    """
    if world() == 1:
        return rows_SBD[:, torch.argsort(torch.tensor(share(lengths), device=rows_SBD.device))]
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    most = -(-len(order) // world())
    slices, _, width = rows_SBD.shape
    padded = rows_SBD.new_zeros(slices, most, width)
    padded[:, : rows_SBD.shape[1]] = rows_SBD.detach()
    everyone = [torch.empty_like(padded) for _ in range(world())]
    dist.all_gather(everyone, padded)
    everyone[rank()] = rows_SBD
    parts, places = [], []
    for number, part in enumerate(everyone):
        own = order[number :: world()]
        parts.append(part[:, : len(own)])
        places += own
    back = torch.argsort(torch.tensor(places, device=rows_SBD.device))
    return torch.cat(parts, dim=1)[:, back]


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Add up each parameter's gradient over all processes."""
    if world() == 1:
        return
    owned = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in owned:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in owned])
    dist.all_reduce(flat)
    at = 0
    for parameter in owned:
        count = parameter.numel()
        parameter.grad.copy_(flat[at : at + count].view_as(parameter))
        at += count


def any_process(flag: bool) -> bool:
    """Tell every process whether one of them says yes: all must stop at the same step."""
    if world() == 1:
        return flag
    votes = torch.tensor([int(flag)])
    if dist.get_backend() == "nccl":
        votes = votes.cuda()
    dist.all_reduce(votes)
    return bool(votes.item())


def from_first(make: Callable[[], Made]) -> Made:
    """Let process 0 make something and give it to all."""
    if world() == 1:
        return make()
    made: list[Any] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(made, src=0)
    result: Made = made[0]
    return result


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier()
