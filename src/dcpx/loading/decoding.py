"""Decoding: chunks from where they are stored to the targets that want them, verified, several in one native call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .. import kernels
from ..catalog.frames import chunk_elements
from ..catalog.items import StoredItem
from ..frame import TensorHint
from ..frame.map import FrameMap
from ..store.source import FileSource
from .buffers import Buffers
from .failures import Failures
from .targets import Target

__all__ = ["Record", "Step", "Stored", "decode_steps", "decoding_steps", "stored_records"]


class Stored(NamedTuple):
    """A chunk's record that is still in its local file: `size` bytes from the file's byte `offset` on."""

    offset: int
    size: int


Record = tuple[int, memoryview | Stored]
"""A chunk's number in its frame, and its record as it is stored."""


class Step(NamedTuple):
    """One chunk of an item to decode.

    `out` takes its decoded bytes, the first of which belongs to the item's element `first`, counted in C order of the
    stored shape. The `targets` are filled from there; they are none where `out` is a target's own memory.
    """

    item: StoredItem
    frame: FrameMap
    number: int
    record: memoryview | Stored
    out: memoryview
    first: int
    targets: list[Target]


def stored_records(
    source: FileSource, item: StoredItem, frame: FrameMap, numbers: range, buffers: Buffers
) -> Iterator[Record]:
    """The records of adjacent chunks. Those of a local file stay there, and are read just before they are decoded; of
    any other file all are read at once, into `buffers`."""
    if source.reads_chunks:
        for number in numbers:
            offset, size = frame.record(number)
            yield number, Stored(item.info.offset + offset, size)
    elif numbers:
        begin, end = frame.record(numbers[0])[0], sum(frame.record(numbers[-1]))
        stored = buffers.stored(end - begin)
        source.read_into(item.info.offset + begin, stored)
        for number in numbers:
            offset, size = frame.record(number)
            yield number, stored[offset - begin : offset - begin + size]


def decoding_steps(
    item: StoredItem,
    targets: list[Target],
    frame: FrameMap,
    hint: TensorHint,
    records: Iterable[Record],
    buffers: Buffers,
) -> Iterator[Step]:
    """The steps for those of an item's chunks that a target wants: straight into the memory of one that alone wants all
    of a chunk, else by way of `buffers`."""
    for number, record in records:
        first, last = chunk_elements(frame, number, hint)
        wanting = [target for target in targets if target.wants(first, last)]
        if not wanting:
            continue
        memory = wanting[0].memory(first, last) if len(wanting) == 1 else None
        if memory is not None:
            yield Step(item, frame, number, record, memory, first, [])
        else:
            out = buffers.decoded(frame.raw_size(number), any(target.on_device for target in wanting))
            yield Step(item, frame, number, record, out, first, wanting)


def decode_steps(source: FileSource, steps: list[Step], failures: Failures) -> int:
    """Decode and verify all chunks, and fill every target that wants something of them; returns how many bytes that
    were.

    The error of an item, which names it and its file, is raised or goes to `failures`. An item that is there, by then
    or from the start, fills no more targets.
    """
    for number in _decode_natively(source, steps):  # another codec's, or damaged: then this says how
        step = steps[number]
        with failures.reading(source.name, step.item):
            step.frame.decode(step.number, _bytes_of(source, step.record), step.out)
    failed = failures.by_name
    filled = 0
    for step in steps:
        if failed and step.item.name in failed:
            continue
        if step.targets:
            with failures.reading(source.name, step.item):
                filled += sum(target.fill(step.out, step.first) for target in step.targets)
        else:
            filled += len(step.out)
    return filled


def _decode_natively(source: FileSource, steps: list[Step]) -> list[int]:
    """Decode and verify as many chunks as the kernels can, and return the others' places in `steps`. The records of all
    steps are in memory, or all in the file."""
    seals = [(step.out, step.number, *step.frame.seal(step.number)) for step in steps]
    if steps and isinstance(steps[0].record, Stored):
        return source.read_chunks([(*step.record, *seal) for step, seal in zip(steps, seals, strict=True)])
    return kernels.decode_chunks([(step.record, *seal) for step, seal in zip(steps, seals, strict=True)])


def _bytes_of(source: FileSource, record: memoryview | Stored) -> memoryview:
    return memoryview(source.read(*record)) if isinstance(record, Stored) else record
