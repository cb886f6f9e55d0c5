"""A tensor that one process saves in several parts, as many ranks would."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

__all__ = ["sharded"]


class _Sharded(torch.Tensor):
    """A tensor and its parts, where they begin and how far they reach; by DCP's protocol for tensors of others."""

    boxes: list[tuple[torch.Size, torch.Size]]

    def __create_write_items__(self, fqn: str, _: Any) -> list[WriteItem]:
        properties = TensorProperties.create_from_tensor(self)
        return [
            WriteItem(
                MetadataIndex(fqn, offsets, number),
                WriteItemType.SHARD,
                tensor_data=TensorWriteData(ChunkStorageMetadata(offsets, sizes), properties, self.size()),
            )
            for number, (offsets, sizes) in enumerate(self.boxes)
        ]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        offsets, sizes = next(box for box in self.boxes if box[0] == index.offset)
        part = self.as_subclass(torch.Tensor)
        for dimension, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
            part = part.narrow(dimension, offset, size)
        return part


def sharded(tensor: torch.Tensor, *cuts: Sequence[int]) -> torch.Tensor:
    """`tensor`, to be saved in parts: cut before these indices, some or none for each dimension."""
    found = tensor.as_subclass(_Sharded)
    edges = [(0, *cut, size) for cut, size in zip(cuts, tensor.shape, strict=True)]
    found.boxes = [
        (torch.Size(begin for begin, _ in box), torch.Size(end - begin for begin, end in box))
        for box in product(*(pairwise(edge) for edge in edges))
    ]
    return found
