"""Decoding: chunks from where they are stored to the targets that want them, several in one native call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from .. import kernels
from ..catalog.frames import chunk_elements
from ..catalog.items import StoredItem
from ..catalog.located import located
from ..frame import TensorHint
from ..frame.map import FrameMap
from ..store.source import FileSource
from .buffers import Buffers
from .targets import Target

__all__ = ["Isolate", "Step", "Stored", "decode_steps", "next_step"]


class Isolate(Protocol):
    """Makes a block whose error may be noted for these items instead of being raised."""

    def __call__(self, items: Sequence[StoredItem]) -> AbstractContextManager[None]: ...


class Stored(NamedTuple):
    """A chunk's record that is still where it is stored."""

    offset: int
    size: int


class Step(NamedTuple):
    """A chunk to decode into `out`, which begins with the item's element `first`, and who copies from there: nobody
    where `out` is the target itself."""

    item: StoredItem
    frame: FrameMap
    number: int
    record: memoryview | Stored
    out: memoryview
    first: int
    targets: list[Target]


def next_step(
    item: StoredItem,
    targets: list[Target],
    frame: FrameMap,
    hint: TensorHint,
    number: int,
    record: memoryview | Stored,
    buffers: Buffers,
) -> Step | None:
    """Where a chunk is decoded to: into a target, if one alone wants all of it. None if nobody wants any."""
    first, last = chunk_elements(frame, number, hint)
    wanting = [target for target in targets if target.wants(first, last)]
    if not wanting:
        return None
    memory = wanting[0].memory(first, last) if len(wanting) == 1 else None
    if memory is not None:
        return Step(item, frame, number, record, memory, first, [])
    out = buffers.decoded(frame.raw_size(number), any(target.on_device for target in wanting))
    return Step(item, frame, number, record, out, first, wanting)


def decode_steps(source: FileSource, steps: list[Step], isolate: Isolate, failed: Mapping[str, object]) -> int:
    """Decode and verify all chunks, and give every target what it wants; returns how many bytes that were.

    Items whose name is in `failed`, by then or from the start, get nothing.
    """
    for number in _decode_natively(source, steps):  # another codec's, or damaged: then this says how
        step = steps[number]
        with isolate([step.item]), located(source.name, step.item.name):
            step.frame.decode(step.number, _bytes_of(source, step.record), step.out)
    filled = 0
    for step in steps:
        if failed and step.item.name in failed:
            continue
        if step.targets:
            with isolate([step.item]), located(source.name, step.item.name):
                filled += sum(target.fill(step.out, step.first) for target in step.targets)
        else:
            filled += len(step.out)
    return filled


def _decode_natively(source: FileSource, steps: list[Step]) -> list[int]:
    """Decode and verify as many chunks as the kernels can; the others' places in `steps`. The steps are all alike."""
    seals = [(step.out, step.number, *step.frame.seal(step.number)) for step in steps]
    if steps and isinstance(steps[0].record, Stored):
        return source.read_chunks([(*step.record, *seal) for step, seal in zip(steps, seals, strict=True)])
    return kernels.decode_chunks([(step.record, *seal) for step, seal in zip(steps, seals, strict=True)])


def _bytes_of(source: FileSource, record: memoryview | Stored) -> memoryview:
    return memoryview(source.read(*record)) if isinstance(record, Stored) else record
