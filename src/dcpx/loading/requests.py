"""What a load asks for: the stored items that a plan needs, each with the requests for parts of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem

from ..catalog.items import Described, StoredItem
from ..catalog.manifest import Manifest
from ..dcp.metadata import dtype_name
from ..errors import CorruptError, Where

__all__ = ["RequestedItem", "common_requests", "is_whole", "request_bytes", "requested_items"]


@dataclass
class RequestedItem(StoredItem):
    """One stored item, and all requests for parts of it. `numbers` are the requests' positions in the plan, from 0."""

    requests: list[ReadItem] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def requested_items(requests: Iterable[ReadItem], metadata: Metadata, manifest: Manifest | None) -> list[RequestedItem]:
    """The stored items that a plan's requests ask for, in the order in which they lie in their files, file by file.

    CorruptError if the metadata doesn't say where one is stored, or what its shape is.
    """
    described = Described(metadata, manifest, dtype_name)
    storage = metadata.storage_data
    found: dict[MetadataIndex, RequestedItem] = {}
    for number, request in enumerate(requests):
        index = request.storage_index
        item = found.get(index)
        if item is None:
            info = storage.get(index)
            if info is None:
                raise CorruptError("the metadata doesn't say where the item is stored", Where(item=index.fqn))
            as_object = request.type == LoadItemType.BYTE_IO
            item = found[index] = RequestedItem(*described.item(index, info, as_object=as_object))
        item.requests.append(request)
        item.numbers.append(number)
    return sorted(found.values(), key=lambda item: (item.info.relative_path, item.info.offset))


def request_bytes(request: ReadItem, metadata: Metadata) -> int:
    """Bytes of the elements that a request asks for, as they are stored; 0 for an object."""
    described = metadata.state_dict_metadata.get(request.storage_index.fqn)
    if request.type == LoadItemType.BYTE_IO or not isinstance(described, TensorStorageMetadata):
        return 0
    return math.prod(request.lengths) * described.properties.dtype.itemsize


def common_requests(plans: Sequence[LoadPlan]) -> list[list[int]]:
    """Of each rank's plan, the positions of the requests that all ranks have: for the same part of a stored item."""
    common = {_part(request) for request in plans[0].items}
    for plan in plans[1:]:
        if not common:
            break
        common &= {_part(request) for request in plan.items}
    if not common:
        return [[] for _ in plans]
    return [[number for number, request in enumerate(plan.items) if _part(request) in common] for plan in plans]


def _part(request: ReadItem) -> tuple[MetadataIndex, tuple[int, ...], tuple[int, ...]]:
    return request.storage_index, tuple(request.storage_offsets), tuple(request.lengths)


def is_whole(item: RequestedItem) -> bool:
    """Whether a request asks for all of the item."""
    return any(
        request.type == LoadItemType.BYTE_IO or tuple(request.lengths) == item.shape for request in item.requests
    )
