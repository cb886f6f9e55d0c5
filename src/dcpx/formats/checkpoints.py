"""Checkpoints as a source of weights, and as what weights are saved to: dcpx's and stock DCP's."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem, WriteItem
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from ..errors import CorruptError, Where
from ..loading.reader import Reader
from ..saving.writer import Writer
from ..store.address import shown_path
from .nesting import as_text, warn_of_lost_keys
from .weights import Cast, Entry, Source, new_paths, parts_of, room_for

__all__ = ["CheckpointSource", "save_weights"]


class CheckpointSource(Source):
    """The tensors of a checkpoint, put together from whatever shards they are stored in, and its objects."""

    def __init__(self, reader: Reader) -> None:
        self.place = str(shown_path(reader.path))
        self._reader = reader
        self.metadata: Metadata = reader.read_metadata()
        self.note, self.empty, self.refused = {}, [], {}
        self.entries, described = {}, self.metadata.state_dict_metadata
        for name, one in described.items():
            if isinstance(one, TensorStorageMetadata):
                nbytes = math.prod(one.size) * one.properties.dtype.itemsize
                self.entries[name] = Entry(name, one.properties.dtype, tuple(one.size), nbytes)
                _check_whole(name, one)
        reader.set_up_storage_reader(self.metadata, True)
        first: dict[str, tuple[str, int]] = {}
        for index, info in self.metadata.storage_data.items():
            first.setdefault(index.fqn, (info.relative_path, info.offset))
        self.entries = dict(sorted(self.entries.items(), key=lambda pair: first.get(pair[0], ("", 0))))
        self.paths = {
            name: path for name, path in (self.metadata.planner_data or {}).items() if isinstance(path, tuple)
        }
        objects = [name for name, one in described.items() if not isinstance(one, TensorStorageMetadata)]
        self.objects = self._read_objects(objects)
        user = None if reader.manifest is None else reader.manifest.user
        kept = user.get("safetensors") if isinstance(user, dict) else None
        if isinstance(kept, dict):
            self.note = {str(key): str(value) for key, value in kept.items()}

    @property
    def user(self) -> dict[str, Any] | None:
        return None if self._reader.manifest is None else dict(self._reader.manifest.user)

    @property
    def steps(self) -> bool:
        """Of what dcpx packed a chunk can be read; stock's items are loaded as a whole."""
        return self._reader.manifest is not None

    def read(self, wanted: list[tuple[str, int, int]]) -> list[torch.Tensor]:
        targets: dict[MetadataIndex, torch.Tensor] = {}
        items: list[ReadItem] = []
        found = room_for(self.rows(wanted))
        for (name, row, _), tensor in zip(wanted, found, strict=True):
            described = self.metadata.state_dict_metadata[name]
            if tensor.numel() == 0:
                continue
            assert isinstance(described, TensorStorageMetadata)
            offsets = (row, *(0 for _ in tensor.shape[1:])) if tensor.dim() else ()
            local = ChunkStorageMetadata(torch.Size(offsets), tensor.shape)
            for item in create_read_items_for_chunk_list(name, described, [local]):
                targets[item.dest_index] = tensor  # which names the rows as well
                items.append(item)
        self._load(items, _Targets(targets, {}))
        return found

    def _read_objects(self, names: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        nothing = torch.Size([0])
        items = [
            ReadItem(LoadItemType.BYTE_IO, MetadataIndex(name), nothing, MetadataIndex(name), nothing, nothing)
            for name in names
        ]
        self._load(items, _Targets({}, found))
        return found

    def _load(self, items: list[ReadItem], planner: _Targets) -> None:
        if items:
            self._reader.read_data(LoadPlan(items), planner).wait()


class _Targets(DefaultLoadPlanner):
    """Gives each read item the tensor that it is to fill."""

    def __init__(self, tensors: dict[MetadataIndex, torch.Tensor], objects: dict[str, Any]) -> None:
        super().__init__()
        self._tensors = tensors
        self._objects = objects

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        whole = self._tensors[read_item.dest_index]
        for dimension, (begin, size) in enumerate(zip(read_item.dest_offsets, read_item.lengths, strict=True)):
            whole = whole.narrow(dimension, begin, size)
        return whole

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        pass

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        self._objects[read_item.storage_index.fqn] = torch.load(value, weights_only=False)  # looked through before


def _check_whole(name: str, described: TensorStorageMetadata) -> None:
    """A tensor whose stored parts leave gaps would be converted to what nobody has ever had."""
    stored = sum(math.prod(chunk.sizes) for chunk in described.chunks)
    if stored < math.prod(described.size):
        cause = f"its stored parts have {stored} of its {math.prod(described.size)} elements"
        raise CorruptError(cause, Where(item=name), "Convert each rank's own checkpoint by itself, or leave it out")


class WeightsPlanner(DefaultSavePlanner):
    """Saves what a source has without having it: tensors are planned by their shapes, and read when they are stored,
    some neighbours at a time. `seen` is told of each, once, with its old name."""

    def __init__(
        self,
        source: Source,
        names: dict[str, str],
        cast: Cast,
        seen: Callable[[str, torch.Tensor], None],
    ) -> None:
        super().__init__()
        self._source = source
        self._old = {new: old for old, new in names.items() if old in source.entries}
        self._cast = cast
        self._entries = {old: cast.entry(source.entries[old]) for old in self._old.values()}
        self._seen = seen
        self._told: set[str] = set()
        self._groups: dict[str, list[str]] = {}
        self._held: dict[str, torch.Tensor] = {}
        self.state = {
            new: torch.empty(self._entries[old].shape, dtype=self._entries[old].dtype, device="meta")
            for new, old in self._old.items()
        } | {names[old]: value for old, value in source.objects.items() if old in names}
        self._paths = {new: as_text(path) for new, path in new_paths(source, names).items()}
        for group in _groups(source, list(self._old.values())):
            for old in group:
                self._groups[old] = group

    def set_up_planner(
        self, state_dict: dict[str, Any], storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        self.state_dict, self.mappings, self.is_coordinator = state_dict, self._paths, is_coordinator

    def lookup_object(self, index: MetadataIndex) -> Any:
        old = self._old.get(index.fqn)
        if old is None:
            return self.state_dict[index.fqn]
        if old not in self._held:
            group = self._groups[old]
            wanted = [(name, 0, (self._entries[name].shape or (1,))[0]) for name in group]
            self._held = dict(zip(group, self._source.read(wanted), strict=True))
        tensor = self._held.pop(old)
        cast = self._cast.of(old, tensor)
        if old not in self._told:  # what may be a copy is asked for twice
            self._told.add(old)
            self._seen(old, cast)
        return cast

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        found = self.lookup_object(write_item.index)
        made: torch.Tensor | io.BytesIO = self.transform_object(write_item, found)
        return made


def _groups(source: Source, names: list[str]) -> list[list[str]]:
    """Whole tensors in lists of about PART bytes, a larger one alone."""
    found: list[list[str]] = [[]]
    for part in parts_of(source, names):
        for name, row, _ in part:
            if row == 0:
                found[-1].append(name)
        found.append([])
    return [group for group in found if group]


def save_weights(
    source: Source,
    names: dict[str, str],
    writer: Any,
    cast: Cast,
    seen: Callable[[str, torch.Tensor], None],
) -> None:
    """Save what a source has. SaveError, or another DcpxError, and then nothing is left."""
    planner = WeightsPlanner(source, names, cast, seen)
    warn_of_lost_keys(new_paths(source, names), source.empty)
    try:
        dcp.save(planner.state, storage_writer=writer, planner=planner, no_dist=True)
    except BaseException:
        if isinstance(writer, Writer):
            writer.discard()
        raise
