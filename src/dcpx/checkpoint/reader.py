"""`Reader`: DCP's FileSystemReader with dcpx's extensions, and errors that say where."""

from __future__ import annotations

import io
import math
import os
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from typing import IO, Any, cast
from uuid import UUID

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.futures import Future

from ..errors import CorruptError, DcpxError, LoadError, Where, portable_errors
from ..extension import StreamTransformExtension
from ..frame import FrameReader, frame_of
from ..registry import ExtensionRegistry, default_registry
from ..streams import read_exactly
from ._torch import StorageInfo, file_slice, narrow_tensor_by_index, refuse_url

__all__ = ["Reader"]

_CONTAINER_ROOM = 1 << 20
"""Bytes that a tensor's container may add to its elements."""


class Reader(FileSystemReader):
    """Reads a checkpoint directory that dcpx or stock DCP wrote, with any extensions of `registry`.

    Every error names file, item and offset. Stock checkpoints of several extensions, which the stock reader applies
    in the wrong order, are read as well.
    """

    def __init__(self, path: str | os.PathLike[str], *, registry: ExtensionRegistry | None = None) -> None:
        refuse_url(path)
        super().__init__(path)
        self.metadata_error: DcpxError | None = None
        self.registry = default_registry() if registry is None else registry

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        try:
            return self._read_metadata(*args, **kwargs)
        except DcpxError as error:
            # DCP goes on without it, to look for a rank's own, and then reports that there is none.
            self.metadata_error = self.metadata_error or error
            raise

    def _read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        where = Where(str(self._get_metadata_path(kwargs.get("rank"))))
        try:
            metadata = super().read_metadata(*args, **kwargs)
        except FileNotFoundError as error:
            remedy = "Check the path; a save that failed leaves no metadata"
            raise LoadError("there is no checkpoint here", where, remedy) from error
        except OSError as error:
            raise LoadError(f"the metadata can't be read: {error}", where) from error
        except Exception as error:
            raise CorruptError(f"the metadata can't be read: {error!r}", where) from error
        if not isinstance(metadata, Metadata):
            raise CorruptError(f"the metadata is a {type(metadata).__name__}", where)
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self.metadata = metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        files: defaultdict[str, list[tuple[int, ReadItem]]] = defaultdict(list)
        for request in plan.items:
            info = self._info(request)
            files[info.relative_path].append((info.offset, request))
        for name, requests in files.items():
            with portable_errors(LoadError):
                self._read_file(name, [request for _, request in sorted(requests, key=itemgetter(0))], planner)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def _read_file(self, name: str, requests: list[ReadItem], planner: LoadPlanner) -> None:
        path = self.fs.concat_path(self.path, name)
        with _located(str(path), None), self.fs.create_stream(path, "rb") as stream:
            for request in requests:
                with _located(str(path), request):
                    self._read_item(stream, request, planner)

    def _info(self, request: ReadItem) -> StorageInfo:
        info = self.storage_data.get(request.storage_index)
        if info is None:
            raise CorruptError("the metadata doesn't say where the item is stored", Where(item=_name(request)))
        return cast(StorageInfo, info)

    def _read_item(self, stream: Any, request: ReadItem, planner: LoadPlanner) -> None:
        limit = self._most_bytes(request)
        content = self._open(file_slice(stream, self._info(request)), request, limit)
        if request.type == LoadItemType.BYTE_IO:
            planner.load_bytes(request, io.BytesIO(content.read(-1)))
            return
        if not content.seekable():
            content = io.BytesIO(read_exactly(content, limit + 1))
            if len(content.getbuffer()) > limit:
                raise CorruptError(f"the item unfolds into more than {limit} bytes, which its shape doesn't need")
        loaded = _load_container(content)
        if not isinstance(loaded, torch.Tensor):
            raise CorruptError(f"a tensor was expected, a {type(loaded).__name__} is stored")
        tensor = narrow_tensor_by_index(loaded, request.storage_offsets, request.lengths)
        target = planner.resolve_tensor(request).detach()
        if target.size() != tensor.size():
            raise LoadError(f"the stored tensor gives {tuple(tensor.size())}, the target is {tuple(target.size())}")
        target.copy_(tensor)
        planner.commit_tensor(request, target)

    def _check_identity(self, frame: FrameReader, request: ReadItem) -> None:
        """A frame that says which item of which checkpoint it is must be the one that was asked for."""
        header, index = frame.header, request.storage_index
        offsets = None if index.offset is None else tuple(index.offset)
        if header.key is not None and (header.key.fqn, header.key.offsets) != (index.fqn, offsets):
            found = f"{header.key.fqn!r} at {header.key.offsets}"
            raise CorruptError(f"the stored item is {found}, not {index.fqn!r} at {offsets}")
        save_id = None if self.metadata.storage_meta is None else self.metadata.storage_meta.save_id
        if (
            header.checkpoint is not None
            and save_id is not None
            and header.checkpoint.hex() != save_id.replace("-", "")
        ):
            raise CorruptError(f"the stored item belongs to another checkpoint, {UUID(bytes=header.checkpoint)}")

    def _most_bytes(self, request: ReadItem) -> int:
        """The most that the item may unfold into, by its shape in the metadata; -1, no limit, for an object."""
        index = request.storage_index
        described = self.metadata.state_dict_metadata.get(index.fqn)
        if request.type == LoadItemType.BYTE_IO or not isinstance(described, TensorStorageMetadata):
            return -1
        for chunk in _stored_chunks(described, index):
            if index.offset is None or chunk.offsets == index.offset:
                return math.prod(chunk.sizes) * described.properties.dtype.itemsize + _CONTAINER_ROOM
        raise CorruptError("the metadata doesn't describe the stored item")

    def _open(self, stored: IO[bytes], request: ReadItem, limit: int) -> IO[bytes]:
        """The item's content: its transforms undone, the last one applied when writing first."""
        info = self._info(request)
        extensions = self.registry.from_descriptor_list(info.transform_descriptors or ())
        # DCP's writer stores the descriptors of several extensions in the order in which they saw the data.
        content = stored
        for extension in reversed(extensions):
            content = cast(StreamTransformExtension, extension).transform_from(content)
            frame = frame_of(content)
            if frame is not None:
                self._check_identity(frame, request)
                if limit >= 0 and extension is extensions[0]:
                    frame.limit_total(limit)  # the one that saw the data as it is
        return content


def _stored_chunks(described: TensorStorageMetadata, index: MetadataIndex) -> Iterable[ChunkStorageMetadata]:
    """A tensor's chunks, the one that `index` hints at first."""
    hinted = described.chunks[index.index : index.index + 1] if index.index is not None and index.index >= 0 else []
    return chain(hinted, described.chunks)


def _load_container(content: IO[bytes]) -> object:
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except BaseException as error:
        # torch may report another error in the place of the stream's own, even of an interrupt.
        failure = getattr(frame_of(content), "failure", None)
        if failure is None or failure is error:
            raise
        raise failure from None


@contextmanager
def _located(file: str, request: ReadItem | None) -> Iterator[None]:
    """Errors of a file's or an item's reading, typed and naming both."""
    name = None if request is None else _name(request)
    try:
        yield
    except DcpxError as error:
        raise error.located(file, name) from error.__cause__
    except OSError as error:
        raise LoadError(f"{type(error).__name__}: {error}", Where(file, name)) from error
    except (RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError) as error:
        # What torch says of a damaged container.
        raise CorruptError(f"the item can't be loaded: {error}", Where(file, name)) from error
    except Exception as error:
        raise LoadError(f"the item can't be loaded: {error!r}", Where(file, name)) from error


def _name(request: ReadItem) -> str:
    offset = request.storage_index.offset
    return request.storage_index.fqn + (f" at {tuple(offset)}" if offset is not None and any(offset) else "")
