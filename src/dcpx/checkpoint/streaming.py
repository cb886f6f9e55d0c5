"""Streaming: an item through any extension's `transform_to`, one write after another, as stock DCP does it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any, cast

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem

from ..errors import DcpxError, SaveError, Where
from ..extension import Item, StreamTransformExtension
from ..extensions.pack import Pack
from ..extensions.zstandard import ZStandardWriter
from ..frame import FrameWriter
from ..kernels import Xxh3_128
from ..progress import Meter
from ..streams import as_bytes, write_all
from ._torch import StorageInfo, cpu_tensors, is_object, tensor_bytes, without_crc32
from .changes import Changes
from .files import DataFiles
from .manifest import Seal, seal_kind
from .objects import Resolver
from .results import StoredItemResult
from .sink import FileSink
from .staging import check_memory, compact, is_plain
from .storable import check_storable

__all__ = ["describe", "located", "resolved", "stream_item", "stream_items"]

_STEP = 1 << 20
"""Bytes that are copied at once for an extension that may look twice."""


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
        with located(item, files):
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
    """Write one item; what it fails of is raised as it was. Returns what seals the bytes that were stored."""
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
    """What an extension is told of the item, which it gets as a stream."""
    index = item.index
    offsets = None if index.offset is None else tuple(index.offset)
    if not isinstance(data, torch.Tensor):
        return Item(index.fqn, offsets, checkpoint=checkpoint)
    in_order = is_plain(data) and data.is_contiguous()
    return Item(index.fqn, offsets, str(data.dtype).removeprefix("torch."), tuple(data.shape), in_order, checkpoint)


@contextmanager
def located(item: WriteItem, files: DataFiles | None = None) -> Iterator[None]:
    """An error of the block becomes one of dcpx's, and names the item and, where it is known, the file."""
    try:
        yield
    except DcpxError as error:
        raise error.located(None if files is None else files.place, item.index.fqn) from error.__cause__
    except Exception as error:
        where = Where(None if files is None else files.place, item.index.fqn)
        raise SaveError(f"{type(error).__name__}: {error}", where) from error


def resolved(planner: Resolver, item: WriteItem) -> torch.Tensor | io.BytesIO:
    """The item's data; an error of the planner names the item, as does data that isn't what was planned and will be
    looked for, or that no load would take."""
    with located(item):
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
    """What is written may change at any time, and torch.save doesn't look at how much a write took: an extension's
    stream takes all of it here, as copies that never change."""

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
    """The file beneath one item's transforms: their `close` must reach it, but more items follow. What is written may
    change at any time; it is looked at once."""

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
"""Streams that take all of a write and look at each of its bytes once: where it changes meanwhile, what they store of
it still agrees with its checksums."""


@contextmanager
def _telling_cause(stream: object) -> Iterator[None]:
    """torch.save reports any failed write as an unexpected position: raise what the stream knows really happened."""
    try:
        yield
    except BaseException as error:
        cause = getattr(stream, "failure", None) or error
        if cause is error:
            raise
        raise cause from None
