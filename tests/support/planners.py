"""Loads of any parts of stored tensors, past DCP's own plans: what a resharding load is made of."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem

import dcpx


class Part(NamedTuple):
    """A part of a stored tensor and the tensor it goes to; an object has no offsets and no target."""

    name: str
    offsets: tuple[int, ...] | None = None
    target: torch.Tensor | None = None


class PartsPlanner:
    """What a Reader asks of a planner, for a list of parts; remembers the calls."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.resolved: list[int] = []
        self.committed: list[int] = []
        self.objects: dict[int, bytes] = {}

    def plan(self) -> LoadPlan:
        return LoadPlan([self._request(number, *part) for number, part in enumerate(self.parts)])

    def resolve_tensor(self, request: ReadItem) -> torch.Tensor:
        number = self.number(request)
        self.resolved.append(number)
        target = self.parts[number].target
        assert target is not None
        return target

    def commit_tensor(self, request: ReadItem, tensor: torch.Tensor) -> None:
        number = self.number(request)
        target = self.parts[number].target
        assert target is not None
        assert tensor.data_ptr() == target.data_ptr()
        self.committed.append(number)

    def load_bytes(self, request: ReadItem, value: io.BytesIO) -> None:
        self.objects[self.number(request)] = value.read()

    def number(self, request: ReadItem) -> int:
        """Which part is asked for."""
        assert request.dest_index.index is not None
        return request.dest_index.index

    def _request(
        self, number: int, name: str, offsets: tuple[int, ...] | None, target: torch.Tensor | None
    ) -> ReadItem:
        if offsets is None or target is None:
            kind, stored, begin, sizes = LoadItemType.BYTE_IO, MetadataIndex(name), torch.Size((0,)), torch.Size((0,))
        else:
            kind, stored = LoadItemType.TENSOR, MetadataIndex(name, torch.Size([0] * len(offsets)), 0)
            begin, sizes = torch.Size(offsets), target.size()
        destination = MetadataIndex(name, index=number)
        return ReadItem(kind, destination, torch.Size([0] * len(sizes)), stored, begin, sizes)


class RaisingPlanner(PartsPlanner):
    """Raises `error` in one of its methods, "resolve", "commit" or "load", at the part of this name."""

    def __init__(self, parts: Sequence[Part], method: str, name: str, error: BaseException) -> None:
        super().__init__(parts)
        self._method, self._name, self._error = method, name, error

    def meets(self, method: str, request: ReadItem) -> bool:
        """Whether the part is asked for, and this is the method."""
        return (method, request.storage_index.fqn) == (self._method, self._name)

    def resolve_tensor(self, request: ReadItem) -> torch.Tensor:
        self._check("resolve", request)
        return super().resolve_tensor(request)

    def commit_tensor(self, request: ReadItem, tensor: torch.Tensor) -> None:
        self._check("commit", request)
        super().commit_tensor(request, tensor)

    def load_bytes(self, request: ReadItem, value: io.BytesIO) -> None:
        self._check("load", request)
        super().load_bytes(request, value)

    def _check(self, method: str, request: ReadItem) -> None:
        if self.meets(method, request):
            raise self._error


def read(path: Path, planner: PartsPlanner, reader: dcpx.Reader | None = None, **options: Any) -> None:
    """Read all of a planner's parts in one load, as DCP would; `options` are the Reader's."""
    reader = dcpx.Reader(path, **options) if reader is None else reader
    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, True)
    reader.read_data(planner.plan(), cast(LoadPlanner, planner)).wait()


def read_parts(path: Path, parts: Iterable[Part], **options: Any) -> PartsPlanner:
    """Read these parts in one load, and return the planner that saw it."""
    planner = PartsPlanner(list(parts))
    read(path, planner, **options)
    return planner


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all stored tensors."""
    described = dcpx.Reader(path).read_metadata().state_dict_metadata
    return {name: tuple(one.size) for name, one in described.items() if isinstance(one, TensorStorageMetadata)}
