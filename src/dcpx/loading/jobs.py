"""The kinds of job that a load consists of, what each may hold in memory, and what comes of it.

    Neighbours   small items that lie near each other, read at once and decoded one by one
    Chunks       adjacent chunks of one large item, the only ones of it that are read
    Container    an item that goes through its extensions' streams and `torch.load`, as stock DCP reads it

`schedule` makes them, `running` does them on the workers, `ledger` keeps account of them.
"""

from __future__ import annotations

from typing import NamedTuple

from ..frame import TensorHint
from ..frame.map import FrameMap
from ..store.source import FileSource
from .requests import RequestedItem
from .targets import Target

__all__ = ["Chunks", "Container", "Done", "Job", "Neighbours", "Wanted", "bytes_held", "file_of", "wanted_of"]

_CHUNK_COST = 1 << 10
"""Bytes that a chunk takes while it is decoded, whatever its size."""

_MAP_COST = 48
"""Bytes that a chunk takes in the map of its frame."""


class Wanted(NamedTuple):
    """An item and the targets that it is to fill; an object has none."""

    item: RequestedItem
    targets: list[Target]


class Neighbours(NamedTuple):
    """Small items of one file, in the order in which they lie there: all of them within `size` bytes from `offset`.

    `alone` says of every kind of job that all jobs before it must have ended when it begins, because they write to the
    same memory.
    """

    source: FileSource
    offset: int
    size: int
    wanted: list[Wanted]
    alone: bool = False


class Chunks(NamedTuple):
    """The chunks `numbers` of a large item, whose frame says by its `hint` where the tensor's elements lie."""

    source: FileSource
    wanted: Wanted
    frame: FrameMap
    hint: TensorHint
    numbers: range
    alone: bool = False


class Container(NamedTuple):
    """An item that is read through its container."""

    source: FileSource
    wanted: Wanted
    alone: bool = False


Job = Neighbours | Chunks | Container


class Done(NamedTuple):
    """What a job has done: how many bytes of its targets it filled, and the content of its objects."""

    job: Job
    nbytes: int
    objects: list[tuple[RequestedItem, bytes]]


def wanted_of(job: Job) -> list[Wanted]:
    """The items that a job is about, of which there is at least one."""
    return job.wanted if isinstance(job, Neighbours) else [job.wanted]


def file_of(job: Job) -> str:
    """The name of the file that a job reads."""
    return wanted_of(job)[0].item.info.relative_path


def bytes_held(job: Job) -> int:
    """About how many bytes a job and its result may hold beside the targets' own memory: what is stored, what is
    decoded of it, and targets that are put together in memory of their own."""
    held = sum([target.held_bytes for wanted in wanted_of(job) for target in wanted.targets])
    match job:
        case Neighbours():
            return held + job.size + sum([wanted.item.nbytes for wanted in job.wanted])
        case Chunks():
            frame = job.frame
            held += _CHUNK_COST * len(job.numbers) + _MAP_COST * frame.count
            return held + sum(frame.record(number)[1] + frame.raw_size(number) for number in job.numbers)
        case Container():
            return held + job.wanted.item.info.length + max(job.wanted.item.most_bytes, 0)
