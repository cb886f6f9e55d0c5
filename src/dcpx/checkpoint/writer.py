"""`Writer`: DCP's FileSystemWriter with dcpx's extensions, whose failed saves fail."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, cast

import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from ..descriptor import Descriptor
from ..errors import DcpxError, ExtensionError, SaveError, Where, portable_errors
from ..extension import Item, StreamTransformExtension
from ..extensions.pack import Pack
from ..parallel import submit
from ..registry import is_stream_transform
from ..streams import write_all
from ._torch import StorageInfo, StoragePrefix, cpu_tensors, is_object, refuse_url, split_by_size

__all__ = ["Writer"]

_SUFFIX = ".distcp"


class Writer(FileSystemWriter):
    """Writes a checkpoint to a directory in DCP's layout, every item through `pack`.

    `pack` is any stream transform, a Chain for several; None stores plain items. `sync_files` fsyncs every file
    before the checkpoint counts as saved. `overwrite` allows writing over an existing checkpoint, which is refused
    otherwise. The other arguments are FileSystemWriter's.

    An error in any writer thread, an extension's own included, fails the save: DCP then never publishes it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
        single_file_per_rank: bool = True,
        sync_files: bool = True,
        thread_count: int = 1,
        per_thread_copy_ahead: int = 10_000_000,
        cache_staged_state_dict: bool = False,
        overwrite: bool = False,
    ) -> None:
        if pack is not None and not is_stream_transform(pack):
            raise ExtensionError(f"pack must be a StreamTransformExtension or None, not {pack!r}")
        refuse_url(path)
        if pack is not None:
            Descriptor.parse(pack.get_descriptor())  # what can't be read back is refused before anything is written
        if thread_count < 1:
            raise ValueError(f"thread_count must be at least 1, not {thread_count}")
        super().__init__(
            path,
            single_file_per_rank=single_file_per_rank,
            sync_files=sync_files,
            thread_count=thread_count,
            per_thread_copy_ahead=per_thread_copy_ahead,
            cache_staged_state_dict=cache_staged_state_dict,
            overwrite=overwrite,
        )
        self.pack = pack

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        if not self.overwrite and self._metadata_exists():
            raise SaveError(
                "a checkpoint exists already", Where(str(self.path)), "Choose another path, or pass overwrite=True"
            )
        return super().prepare_local_plan(plan)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        prefix = cast(StoragePrefix, plan.storage_data).prefix
        self._checkpoint = self._checkpoint_id(plan)
        if self.single_file_per_rank:
            buckets = split_by_size(self.thread_count, plan.items)
        else:
            buckets = [[item] for item in plan.items]
        names = [f"{prefix}{number}{_SUFFIX}" for number in range(len(buckets))]
        with portable_errors(SaveError):
            results = self._write_files(list(zip(names, buckets, strict=True)), planner)
            _check_complete(plan.items, results)
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return [
            replace(plan, storage_data=_Place(f"__{rank}_", self.save_id)) if plan.storage_data is None else plan
            for rank, plan in enumerate(plans)
        ]

    def _checkpoint_id(self, plan: SavePlan) -> bytes | None:
        """The UUID of this save as every rank knows it, or None.

        It is the coordinator's, and comes with the plan. DCP's plan caching hands out an old plan again: then it is
        unknown here, and items are written without it. Without collectives each rank's save stands alone.
        """
        place = plan.storage_data
        if not isinstance(place, _Place):
            return uuid.UUID(self.save_id).bytes
        if place.save_id in _spent_ids:
            return None
        _spent_ids.add(place.save_id)
        return uuid.UUID(place.save_id).bytes

    def _write_files(self, files: list[tuple[str, list[WriteItem]]], planner: SavePlanner) -> list[WriteResult]:
        if self.thread_count == 1:
            return [result for name, items in files for result in self._write_file(name, items, planner)]
        with ThreadPoolExecutor(self.thread_count, thread_name_prefix="dcpx-writer") as pool:
            futures = [submit(pool, lambda file: self._write_file(*file, planner), file) for file in files]
            try:
                return [result for future in futures for result in future.result()]
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _write_file(self, name: str, items: list[WriteItem], planner: SavePlanner) -> list[WriteResult]:
        objects = [item for item in items if is_object(item)]
        tensors = [item for item in items if not is_object(item)]
        results = []
        with self.fs.create_stream(self.fs.concat_path(self.path, name), "wb") as stream:
            for item in objects:
                results.append(self._write_item(stream, name, item, planner.resolve_data(item)))
            for tensor, item in cpu_tensors(planner, tensors, self.per_thread_copy_ahead, self.thread_count):
                results.append(self._write_item(stream, name, item, tensor))
            stream.flush()
            if self.sync_files:
                _sync(stream)
        return results

    def _write_item(self, stream: Any, name: str, item: WriteItem, data: torch.Tensor | io.BytesIO) -> WriteResult:
        offset = stream.tell()
        file = _Uncloseable(stream)
        with _telling_cause(file, Where(name, item.index.fqn)):
            with self._transformed(file, _describe(item, data, self._checkpoint)) as output:
                with _telling_cause(output):
                    if isinstance(data, torch.Tensor):
                        torch.save(data, output)
                    else:
                        output.write(data.getbuffer())
        length = stream.tell() - offset
        descriptors = None if self.pack is None else [self.pack.get_descriptor()]
        info = StorageInfo(name, offset, length, transform_descriptors=descriptors)
        return WriteResult(index=item.index, size_in_bytes=length, storage_data=info)

    def _transformed(self, file: _Uncloseable, item: Item) -> IO[bytes]:
        output = cast(IO[bytes], file)
        if self.pack is None:
            return output
        transform_item_to = getattr(self.pack, "transform_item_to", None)
        return transform_item_to(output, item) if transform_item_to else self.pack.transform_to(output)


@dataclass
class _Place(StoragePrefix):
    """What the coordinator tells each rank: how its files' names begin, and which save this is."""

    save_id: str


_spent_ids: set[str] = set()


class _Uncloseable(io.RawIOBase):
    """The file beneath one item's transforms: their `close` must reach it, but more items follow."""

    failure: BaseException | None = None
    """The first error of a write."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self.name = getattr(stream, "name", None)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        try:
            write_all(self._stream, data)
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return memoryview(data).nbytes

    def flush(self) -> None:
        if not self.closed:
            self._stream.flush()


@contextmanager
def _telling_cause(stream: object, where: Where | None = None) -> Iterator[None]:
    """torch.save reports any failed write as an unexpected position: raise what the stream knows really happened.

    With `where`, an error that isn't dcpx's own becomes a SaveError that names the place.
    """
    try:
        yield
    except BaseException as error:
        cause = getattr(stream, "failure", None) or error
        if where is not None and isinstance(cause, Exception) and not isinstance(cause, DcpxError):
            raise SaveError(f"{type(cause).__name__}: {cause}", where) from cause
        if cause is error:
            raise
        raise cause from None


def _describe(item: WriteItem, data: torch.Tensor | io.BytesIO, checkpoint: bytes | None) -> Item:
    index = item.index
    offsets = None if index.offset is None else tuple(index.offset)
    if not isinstance(data, torch.Tensor):
        return Item(index.fqn, offsets, checkpoint=checkpoint)
    dtype = str(data.dtype).removeprefix("torch.")
    # Conjugated and negated views store what they are views of.
    plain = data.is_contiguous() and not data.is_conj() and not data.is_neg()
    return Item(index.fqn, offsets, dtype, tuple(data.shape), plain, checkpoint)


def _check_complete(items: Iterable[WriteItem], results: Iterable[WriteResult]) -> None:
    """What was planned must have been stored, item by item."""
    missing = {item.index for item in items} - {result.index for result in results}
    if missing:
        name = min(index.fqn for index in missing)
        raise SaveError(f"{len(missing)} planned items were not stored", Where(item=name))


def _sync(stream: Any) -> None:
    try:
        descriptor = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return  # not a local file: its store makes it durable when it is closed
    os.fsync(descriptor)
