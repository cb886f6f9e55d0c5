"""How `estimate` measures: samples of a checkpoint's elements are coded and decoded as a save and a load do it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np

from .. import kernels
from ..catalog.frames import OWN_ELEMENTS, own_container
from ..catalog.items import StoredItem, place_of
from ..codecs.container import Container
from ..codecs.dtypes import CODES, ITEM_SIZES
from ..errors import DcpxError
from ..extension import Item
from ..extensions.pack import Choice, Pack
from ..frame import Coding
from ..frame.builder import FrameBuilder
from ..frame.chunks import encode_chunk
from ..frame.layout import CHUNK_HEADER_SIZE, INDEX_ENTRY_SIZE, parse_final
from ..frame.map import FrameMap
from ..parallel import Crew
from ..progress import Meter, OnProgress
from .elements import PIECE, Elements, Piece, StoredTensor, in_jobs
from .numbers import Array
from .opened import lost_files
from .torch_files import torch_file_size

__all__ = ["LEVELS", "Sampled", "chosen", "sample_tensors"]

LEVELS: tuple[Literal["fast", "small", "plain"], ...] = ("fast", "small", "plain")

_COPIES = 5
"""Times its elements that a sample takes while it is measured."""

_MOST_DIMENSIONS = 64
"""Of a tensor that torch can make, and save."""

_PACKS = {"fast": Pack(), "small": Pack(level="small")}


def _by_level(value: float = 0) -> dict[str, float]:
    return dict.fromkeys(LEVELS, value)


@dataclass
class Sampled:
    """What was found of the tensors of one dtype, by level.

    `fixed` are bytes that are known without coding: small tensors, and what surrounds the elements. `coded` are the
    bytes that all others would take, `encoding` and `decoding` the seconds of one thread.
    """

    dtype: str
    tensors: int = 0
    nbytes: int = 0
    stored: int = 0
    sampled: int = 0
    is_measured: bool = False
    fixed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    coded: dict[str, float] = field(default_factory=_by_level)
    encoding: dict[str, float] = field(default_factory=_by_level)
    decoding: dict[str, float] = field(default_factory=_by_level)


class _Sample(NamedTuple):
    """Elements to measure, and how many bytes they stand for."""

    piece: Piece
    weight: float


class _Measured(NamedTuple):
    """The bytes that a sample takes, and the seconds to encode and to decode it, by level."""

    stored: dict[str, int]
    encoding: dict[str, float]
    decoding: dict[str, float]


def sample_tensors(
    elements: Elements, tensors: Iterable[StoredTensor], size: int, crew: Crew, progress: OnProgress | None
) -> tuple[list[Sampled], int, list[DcpxError]]:
    """Measure samples of about `size` bytes in all; what was found of each dtype, the bytes of the tensors of which
    nothing was, and why some couldn't be read."""
    found: dict[str, Sampled] = {}
    left_out = 0
    pieces: dict[str, list[Piece]] = {}
    errors: list[DcpxError] = []
    tensors = list(tensors)
    files = (part.info.relative_path for tensor in tensors for part in tensor.parts)
    places: set[tuple[str, int, int]] = set()
    lost_file = lost_files(elements.opened.store, dict.fromkeys(files, 0))
    for tensor in tensors:
        obstacle = elements.obstacle(tensor)
        for part in tensor.parts:  # also of a small tensor, which needn't be read
            obstacle = obstacle or lost_file.get(part.info.relative_path)
        if obstacle is not None:
            errors.append(obstacle.located(item=tensor.name))
            left_out += tensor.nbytes
            continue
        one = found.setdefault(tensor.dtype, Sampled(tensor.dtype))
        one.tensors += 1
        one.nbytes += tensor.nbytes
        for part in tensor.parts:
            if place_of(part.info) in places:  # a copy, which but for plain items is stored once
                one.fixed["plain"] += part.nbytes + _fixed(part, "plain")
                continue
            places.add(place_of(part.info))
            one.stored += part.info.length
            if tensor.dtype in CODES and len(tensor.shape) <= _MOST_DIMENSIONS:
                for level in LEVELS:
                    one.fixed[level] += _fixed(part, level)
                pieces.setdefault(tensor.dtype, []).extend(_pieces(part))
    total = sum(piece.nbytes for some in pieces.values() for piece in some)
    samples = [one for some in pieces.values() for one in chosen(some, size / max(total, 1))]
    meter = Meter(progress, sum(one.piece.nbytes for one in samples), len(samples))
    lost = dict.fromkeys(found, 0.0)

    def measure(job: list[_Sample]) -> list[tuple[_Sample, _Measured | DcpxError]]:
        read = elements.read_all([one.piece for one in job])
        return [
            (one, held if isinstance(held, DcpxError) else _measure(str(one.piece.part.dtype), held))
            for one, held in zip(job, read, strict=True)
        ]

    jobs = in_jobs(samples, lambda one: one.piece.nbytes)
    with closing(crew.map(measure, jobs, lambda job: _COPIES * sum(one.piece.nbytes for one in job))) as results:
        for job in results:
            for sample, measured in job:
                dtype = str(sample.piece.part.dtype)
                if isinstance(measured, DcpxError):
                    errors.append(measured)
                    lost[dtype] += sample.weight
                else:
                    _add(found[dtype], sample, measured)
                meter.add(sample.piece.nbytes, 1)
    for dtype, some in pieces.items():
        _stand_in(found[dtype], lost[dtype], sum(piece.nbytes for piece in some))
    left_out += sum(one.nbytes for one in found.values() if not one.is_measured)
    return [one for one in found.values() if one.is_measured], left_out, errors


def _add(found: Sampled, sample: _Sample, measured: _Measured) -> None:
    share = sample.weight / sample.piece.nbytes
    found.sampled += sample.piece.nbytes
    for level in LEVELS:
        found.coded[level] += share * measured.stored[level]
        found.encoding[level] += share * measured.encoding[level]
        found.decoding[level] += share * measured.decoding[level]


def _stand_in(found: Sampled, lost: float, total: int) -> None:
    """Let the samples that were measured stand for those that couldn't be read."""
    found.is_measured = total == 0 or found.sampled > 0
    if lost and found.is_measured:
        share = total / (total - lost)
        for figures in (found.coded, found.encoding, found.decoding):
            figures.update({level: share * figure for level, figure in figures.items()})


# --- which ------------------------------------------------------------------------------------------------------------


def _pieces(part: StoredItem) -> Iterator[Piece]:
    """The elements that have chunks of their own, in pieces of PIECE bytes."""
    if part.nbytes < OWN_ELEMENTS:
        return
    count, step = math.prod(part.shape or ()), PIECE // ITEM_SIZES[str(part.dtype)]
    for begin in range(0, count, step):
        yield Piece(part, begin, min(begin + step, count))


def chosen(pieces: Sequence[Piece], share: float) -> list[_Sample]:
    """So many pieces that they are about this share of all, at least one: those at points that lie evenly, each as
    likely as it is large."""
    count = math.ceil(share * len(pieces))
    if count >= len(pieces):
        return [_Sample(piece, piece.nbytes) for piece in pieces]
    begins = list(accumulate((piece.nbytes for piece in pieces), initial=0))
    weight = begins[-1] / count
    weights: dict[int, float] = {}
    for number in range(count):
        place = bisect_right(begins, int((number + 0.5) * weight)) - 1
        weights[place] = weights.get(place, 0) + weight
    return [_Sample(pieces[place], weight) for place, weight in weights.items()]


# --- as a save would --------------------------------------------------------------------------------------------------


@cache
def _choice(level: str, dtype: str) -> Choice:
    return _PACKS[level].choose(Item("", (0,), dtype, (1,), True, bytes(16)))


def _fixed(part: StoredItem, level: str) -> int:
    """The bytes of a part that are known: all of a small one, and of any other what surrounds the coded elements."""
    dtype, shape = str(part.dtype), tuple(part.shape or ())
    is_small = part.nbytes < OWN_ELEMENTS
    if level == "plain":
        return torch_file_size(dtype, shape) - (0 if is_small else part.nbytes)
    own = own_container(dtype, shape)
    offsets = None if part.index.offset is None else tuple(part.index.offset)
    header = _PACKS[level].choose(Item(part.index.fqn, offsets, dtype, shape, True, bytes(16))).header
    assert header.hint is not None
    hint = header.hint._replace(payload_offset=own.before.raw_size)
    frame = FrameBuilder(header._replace(hint=hint, codecs=(*header.codecs, Container.id)))
    chunks = 1 if is_small else 2 + math.ceil(part.nbytes / header.chunk_size)
    known = part.nbytes if is_small else len(own.template.arguments)
    rest = len(own.template.arguments) + known + chunks * (CHUNK_HEADER_SIZE + INDEX_ENTRY_SIZE)
    return len(frame.head) + rest + len(frame.tail())


def _measure(dtype: str, held: Array) -> _Measured:
    raw = held.view(np.uint8).data
    found = _Measured({}, {}, {})
    for level in LEVELS:
        measure = _measure_plain if level == "plain" else _measure_packed
        found.stored[level], found.encoding[level], found.decoding[level] = measure(level, dtype, raw)
    return found


def _measure_plain(level: str, dtype: str, raw: memoryview) -> tuple[int, float, float]:
    """What is stored plain is copied and hashed, whether it is saved or loaded."""
    out = np.empty(len(raw), np.uint8)
    begun = perf_counter()
    kernels.Xxh3_128().update(raw, out)
    seconds = perf_counter() - begun
    return len(raw), seconds, seconds


def _measure_packed(level: str, dtype: str, raw: memoryview) -> tuple[int, float, float]:
    choice = _choice(level, dtype)
    begun = perf_counter()
    frame = FrameBuilder(choice.header)
    coding: Coding = choice.coding(dtype, raw)
    stored = [encode_chunk(chunk) for chunk in frame.cut(raw, coding.encoder, coding.lanes, still=False)]
    encoding = perf_counter() - begun
    records = [memoryview(b"".join((frame.add(chunk), chunk.payload))) for chunk in stored]
    size = sum(len(chunk.payload) for chunk in stored)
    header = frame.header
    final = parse_final(frame.tail(), header, header.size + size + CHUNK_HEADER_SIZE * len(stored))
    found = FrameMap(header, final)
    out = memoryview(bytearray(len(raw)))
    begun = perf_counter()
    jobs = [
        (record, out[found.begins[number] : found.begins[number + 1]], number, *found.seal(number))
        for number, record in enumerate(records)
    ]
    for number in kernels.decode_chunks(jobs):
        found.decode(number, records[number], jobs[number][1])
    return size, encoding, perf_counter() - begun
