"""What a load asks for: the stored items that a plan needs, each with the requests for parts of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, ReadItem

from ..catalog.items import Described, StoredItem
from ..catalog.manifest import Manifest
from ..dcp.metadata import dtype_name
from ..errors import CorruptError, Where

__all__ = ["RequestedItem", "request_bytes", "requested_items"]


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
