"""Streaming: an item through any extension's `transform_to`, one write after another, as stock DCP does it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any, cast

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem

from ..catalog.manifest import Seal, seal_kind
from ..dcp.private import StorageInfo, cpu_tensors, is_object, tensor_bytes, without_crc32
from ..dcp.staging import check_memory, compact, is_plain
from ..errors import SaveError
from ..extension import Item, StreamTransformExtension
from ..extensions.pack import Pack
from ..extensions.zstandard import ZStandardWriter
from ..frame import FrameWriter
from ..kernels import Xxh3_128
from ..located import writing
from ..progress import Meter
from ..store.sink import FileSink
from ..streams import as_bytes, write_all
from .changes import Changes
from .files import DataFiles
from .object_check import Resolver
from .results import StoredItemResult
from .storable import check_storable

__all__ = ["describe", "resolved", "stream_item", "stream_items"]

_STEP = 1 << 20
"""Bytes that are copied at once for an extension that may look twice at what it is given."""


def stream_items(
    items: list[WriteItem],
    planner: Resolver,
    pack: StreamTransformExtension | None,
    checkpoint: bytes | None,
    files: DataFiles,
    copy_ahead: int,
    meter: Meter,
    changes: Changes,
) -> list[StoredItemResult]:
    """Write all items, objects first, and return where they are. Tensors from a device are copied ahead by at most
    `copy_ahead` bytes, whole tensors at a time."""
    results: list[StoredItemResult] = []

    def store(item: WriteItem, data: torch.Tensor | io.BytesIO) -> None:
        with writing(lambda: files.place, item.index.fqn, foreign=Exception):
            begin = files.sink.position
            seal = stream_item(files.sink, item, data, pack, checkpoint)
            length = files.sink.position - begin
            descriptors = None if pack is None else [pack.get_descriptor()]
            info = StorageInfo(files.name, begin, length, transform_descriptors=descriptors)
            results.append(StoredItemResult(item.index, length, info, seal))
            files.end_item()
        meter.add(tensor_bytes(item), 1)

    for item in items:
        if is_object(item):
            store(item, resolved(planner, item))
    taken: dict[MetadataIndex, tuple[object, int | None]] = {}

    def resolve(item: WriteItem) -> torch.Tensor | io.BytesIO:
        data = resolved(planner, item)
        taken[item.index] = data, changes.begin(data)
        return data

    for tensor, item in cpu_tensors(resolve, [item for item in items if not is_object(item)], copy_ahead):
        store(item, compact(tensor))
        changes.end(item, *taken.pop(item.index))
    return results


def stream_item(
    sink: FileSink,
    item: WriteItem,
    data: torch.Tensor | io.BytesIO,
    pack: StreamTransformExtension | None,
    checkpoint: bytes | None,
) -> Seal:
    """Write one item, and return what seals the bytes that were stored. An error is raised as it first was, not as
    torch reports it."""
    file = _Uncloseable(sink)
    # A frame has a better checksum than the container's own, which costs more than all the rest.
    quiet = without_crc32 if isinstance(pack, Pack) else nullcontext()
    with _telling_cause(file), quiet:
        with _transformed(file, pack, describe(item, data, checkpoint)) as output:
            with _telling_cause(output):
                top = output if isinstance(output, _LOOKING_ONCE) else cast(IO[bytes], _OneLook(output))
                if isinstance(data, torch.Tensor):
                    torch.save(data, top)
                else:
                    write_all(top, data.getvalue())  # no copy
    framed = pack is not None and seal_kind([pack.get_descriptor()]) == "header"
    checksum = output.checksum_in(file) if framed and isinstance(output, FrameWriter) else None
    return Seal.of_stored(file.hasher) if checksum is None else Seal.of_frame(checksum)


def describe(item: WriteItem, data: torch.Tensor | io.BytesIO, checkpoint: bytes | None) -> Item:
    """What an extension is told of the item whose bytes it gets as a stream."""
    index = item.index
    offsets = None if index.offset is None else tuple(index.offset)
    if not isinstance(data, torch.Tensor):
        return Item(index.fqn, offsets, checkpoint=checkpoint)
    in_order = is_plain(data) and data.is_contiguous()
    return Item(index.fqn, offsets, str(data.dtype).removeprefix("torch."), tuple(data.shape), in_order, checkpoint)


def resolved(planner: Resolver, item: WriteItem) -> torch.Tensor | io.BytesIO:
    """The item's data, from the planner.

    SaveError, which names the item, if the planner fails, if the data isn't what was planned, whose shape and dtype the
    metadata will give, or if no load would take it.
    """
    with writing(item=item.index.fqn, foreign=Exception):
        data = planner.resolve_data(item)
        planned = item.tensor_data
        if isinstance(data, torch.Tensor) is (planned is None):
            raise SaveError(f"the planner gives a {type(data).__name__} for what it planned as another kind of item")
        if isinstance(data, torch.Tensor) and planned is not None:
            found, expected = (data.dtype, data.shape), (planned.properties.dtype, planned.chunk.sizes)
            if found != expected:
                raise SaveError(
                    f"the planner gives a tensor {found[0]} {tuple(found[1])}, it planned {expected[0]} "
                    f"{tuple(expected[1])}"
                )
        if isinstance(data, torch.Tensor):
            check_memory(data)
            check_storable(data)
        return data


def _transformed(file: _Uncloseable, pack: StreamTransformExtension | None, item: Item) -> IO[bytes]:
    output = cast(IO[bytes], file)
    if pack is None:
        return output
    transform_item_to = getattr(pack, "transform_item_to", None)
    return transform_item_to(output, item) if transform_item_to else pack.transform_to(output)


class _OneLook(io.RawIOBase):
    """Gives an extension's stream all that is written, as copies that never change.

    What is written is a tensor's memory, which may change meanwhile; and torch.save doesn't look at how many bytes a
    write took.
    """

    def __init__(self, output: IO[bytes]) -> None:
        super().__init__()
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = as_bytes(data)
        for begin in range(0, len(view), _STEP):
            write_all(self._output, bytes(view[begin : begin + _STEP]))
        return len(view)


class _Uncloseable(io.RawIOBase):
    """The file beneath one item's transforms. Their `close` reaches it but leaves it open, because more items follow.

    What is written may change meanwhile, so that each byte is looked at once.
    """

    failure: BaseException | None = None
    """The first error of a write."""

    def __init__(self, sink: FileSink) -> None:
        super().__init__()
        self._sink = sink
        self.hasher = Xxh3_128()
        self.name = sink.name

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = as_bytes(data)
        try:
            self._sink.write_through(view, self.hasher)
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return len(view)


_LOOKING_ONCE = (FrameWriter, ZStandardWriter, _Uncloseable)
"""Streams that take all of a write and look at each of its bytes once: what they store agrees with its checksums, even
if the memory that it came from changes meanwhile."""


@contextmanager
def _telling_cause(stream: object) -> Iterator[None]:
    """Raises what the stream knows to have happened: torch.save reports any failed write as an unexpected position."""
    try:
        yield
    except BaseException as error:
        cause = getattr(stream, "failure", None) or error
        if cause is error:
            raise
        raise cause from None
