"""How two checkpoints are compared: what is equal is proven without reading it, all else is read piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np

from ..catalog.containers import read_object
from ..catalog.frames import checked_hint, chunk_elements, own_container
from ..catalog.geometry import boxes
from ..catalog.items import StoredItem
from ..catalog.plain import TensorStorageMetadata
from ..errors import CorruptError, DcpxError, UnsupportedError, Where
from ..frame.map import FrameMap
from ..located import reading
from ..parallel import Crew
from ..pickles.constants import ITEM_SIZES
from ..progress import Meter, OnProgress
from ..store.source import Sources
from .distances import Distance, distance_of
from .elements import PIECE, Elements, Piece, StoredTensor, frame_in, in_jobs, pieces_of
from .numbers import Array, is_numeric

__all__ = ["Compared", "Entry", "Key", "StoredObject", "compare", "entries"]

_PAIRS = 64
"""Pairs of parts of one job that proves them equal."""

_COPIES = 4
"""Times its elements that a piece takes while it is compared."""


@dataclass(frozen=True)
class StoredObject:
    """An object of a checkpoint and what is stored of it."""

    name: str
    parts: list[StoredItem]
    rank: int | None = None


Entry: TypeAlias = "StoredTensor | StoredObject"

Key: TypeAlias = "tuple[int | None, str]"
"""The rank whose own checkpoint an item is in, None for one of all ranks, and the item's name."""


def entries(elements: Elements) -> dict[Key, Entry]:
    """All tensors and objects of a checkpoint, in its order."""
    tensors = {(tensor.rank, tensor.name): tensor for tensor in elements.tensors()}
    found: dict[Key, Entry] = {}
    for pointer in elements.opened.pointers:
        objects: dict[str, list[StoredItem]] = {}
        for item in pointer.items:
            if item.shape is None:
                objects.setdefault(item.index.fqn, []).append(item)
        for name, described in pointer.pointed.metadata.state_dict_metadata.items():
            key = pointer.rank, name
            is_tensor = isinstance(described, TensorStorageMetadata)
            found[key] = tensors[key] if is_tensor else StoredObject(name, objects.get(name, []), pointer.rank)
    return found


@dataclass
class Compared:
    """Two items of one name, which are two objects, or two tensors of one shape, and what was found.

    `distance` is of what had to be read of tensors; `is_changed` also tells of objects. `error` says why they couldn't
    be compared; `is_read` whether anything of them was read, and not all of it proven equal by hashes that were saved.
    """

    a: Entry
    b: Entry
    distance: Distance = field(default_factory=Distance)
    is_changed: bool = False
    is_read: bool = False
    error: DcpxError | None = None
    left: int = 0  # pairs and pieces that are still to be looked at

    @property
    def nbytes(self) -> int:
        return self.a.nbytes if isinstance(self.a, StoredTensor) else sum(part.nbytes for part in self.a.parts)


class _Pair(NamedTuple):
    """A part of a's item, and the part of b's that has the same place in it, if there is one."""

    one: Compared
    a: StoredItem
    b: StoredItem | None


class _Work(NamedTuple):
    """A piece of a's part to hold against b's; None for all of two objects."""

    pair: _Pair
    piece: Piece | None

    @property
    def nbytes(self) -> int:
        return self.pair.a.nbytes if self.piece is None else self.piece.nbytes


def compare(a: Elements, b: Elements, items: Sequence[Compared], crew: Crew, progress: OnProgress | None) -> None:
    """Compare all items, whose results are filled in."""
    _Comparison(a, b, crew, Meter(progress, sum(one.nbytes for one in items), len(items))).run(items)


class _Comparison:
    def __init__(self, a: Elements, b: Elements, crew: Crew, meter: Meter) -> None:
        self._a = a
        self._b = b
        self._crew = crew
        self._meter = meter

    def run(self, items: Sequence[Compared]) -> None:
        jobs = in_jobs(self._work(items), lambda work: work.nbytes)
        with closing(self._crew.map(self._compare_job, jobs, _cost)) as results:
            for job in results:
                for work, found in job:
                    self._take(work, found)
        self._compare_contents([one for one in items if isinstance(one.error, UnsupportedError)])

    def _take(self, work: _Work, found: Distance | bool | DcpxError) -> None:
        one = work.pair.one
        one.is_read = True
        if isinstance(found, DcpxError):
            one.error = one.error or found
        elif isinstance(found, Distance):
            one.distance.add(found)
            one.is_changed = one.is_changed or found.changed > 0
        else:
            one.is_changed = one.is_changed or found
        self._done(one, work.nbytes)

    def _done(self, one: Compared, nbytes: int) -> None:
        """A pair or piece of the item has been looked at."""
        one.left -= 1
        self._meter.add(nbytes, int(one.left <= 0))

    def _work(self, items: Sequence[Compared]) -> Iterator[_Work]:
        """What must be read, once all else is proven equal."""
        batches = self._batches(items)
        # Of local files it is Python that takes the time, of which threads would only be in each other's way.
        far = any(elements.opened.store.connections > 0 for elements in (self._a, self._b))
        here = (self._prove(batch) for batch in batches)
        with closing(self._crew.map(self._prove, batches, lambda pairs: 0) if far else here) as proven:
            for batch in proven:
                for pair, found in batch:
                    if isinstance(found, DcpxError):
                        pair.one.error = pair.one.error or found
                        found = []
                    pair.one.left += len(found)
                    self._done(pair.one, pair.a.nbytes - sum(work.nbytes for work in found))
                    yield from found

    def _batches(self, items: Sequence[Compared]) -> Iterator[list[_Pair]]:
        pairs = self._pairs(items)
        while batch := list(islice(pairs, _PAIRS)):
            yield batch

    def _pairs(self, items: Sequence[Compared]) -> Iterator[_Pair]:
        for one in items:
            one.error = self._obstacle(one)
            pairs = [] if one.error is not None else list(_pairs_of(one))
            one.left = len(pairs)
            if not pairs:
                self._done(one, one.nbytes)
            yield from pairs

    def _obstacle(self, one: Compared) -> DcpxError | None:
        """Why the items can't be compared, as far as that is known before they are read."""
        obstacle = _obstacle(one)
        if obstacle is None and isinstance(one.a, StoredTensor) and isinstance(one.b, StoredTensor):
            return self._a.obstacle(one.a) or self._b.obstacle(one.b)
        return obstacle

    # --- on the workers -----------------------------------------------------------------------------------------------

    def _prove(self, pairs: list[_Pair]) -> list[tuple[_Pair, list[_Work] | DcpxError]]:
        with Sources(self._a.opened.store) as sources_a, Sources(self._b.opened.store) as sources_b:
            found: list[tuple[_Pair, list[_Work] | DcpxError]] = []
            for pair in pairs:
                try:
                    found.append((pair, list(_unproven(pair, sources_a, sources_b))))
                except DcpxError as error:
                    found.append((pair, error.located(item=pair.a.name)))
            return found

    def _compare_job(self, job: list[_Work]) -> list[tuple[_Work, Distance | bool | DcpxError]]:
        pieces = [(work.pair, work.piece) for work in job if work.piece is not None]
        read = self._a.read_all([piece for _, piece in pieces])
        others = self._b.read_all([piece._replace(part=pair.b) for pair, piece in pieces if pair.b is not None])
        with closing(read), closing(others):
            return [(work, self._compare(work, read, others)) for work in job]

    def _compare(
        self, work: _Work, read: Iterator[Array | DcpxError], others: Iterator[Array | DcpxError]
    ) -> Distance | bool | DcpxError:
        """`read` has a's elements of the next piece, and `others` b's of the next one that lies in one part of it."""
        pair, piece = work
        if piece is None:
            return self._differ(pair)
        a = next(read)
        b = next(others) if pair.b is not None else None
        if isinstance(a, DcpxError):
            return a
        b = self._counterpart(pair, piece) if b is None else b  # as much as was read of a, and no more
        return b if isinstance(b, DcpxError) else distance_of(_dtypes(pair.one), a, b)

    def _counterpart(self, pair: _Pair, piece: Piece) -> Array | DcpxError:
        """The elements of b that have the same places in the tensor as the piece of a's part."""
        tensor = pair.one.b
        assert isinstance(tensor, StoredTensor)
        offsets = tuple(pair.a.index.offset or ())
        found = []
        for box in boxes(pair.a.shape or (), piece.begin, piece.end):
            low = [begin + offset for begin, offset in zip(offsets, box.offsets, strict=True)]
            high = [begin + size for begin, size in zip(low, box.sizes, strict=True)]
            try:
                found.append(self._b.box(tensor, low, high).reshape(-1))
            except DcpxError as error:
                return error.located(item=tensor.name)
        return np.concatenate(found)

    def _differ(self, pair: _Pair) -> bool | DcpxError:
        """Whether two items unfold into different bytes."""
        assert pair.b is not None
        try:
            return self._content(self._a, pair.a) != self._content(self._b, pair.b)
        except DcpxError as error:
            return error.located(item=pair.a.name)

    def _content(self, elements: Elements, item: StoredItem) -> bytes:
        with Sources(elements.opened.store) as sources:
            source = sources[item.info.relative_path]
            with reading(source.name, item.name):
                stored = source.part(item.info.offset, item.info.length)
                item.check_stored(stored)
                return read_object(stored, item, elements.registry, elements.limits.most_bytes(item))

    def _compare_contents(self, items: Sequence[Compared]) -> None:
        """Compare tensors that are more than their elements, such as quantized ones, as objects are."""
        found = [(one, list(_pairs_of(one))) for one in items if self._obstacle(one) is None]
        comparable = [(one, pairs) for one, pairs in found if all(pair.b is not None for pair in pairs)]
        all_pairs = [pair for _, pairs in comparable for pair in pairs]
        for one, _ in comparable:
            one.error, one.is_changed, one.is_read = None, False, True
        with closing(self._crew.map(self._differ, all_pairs, lambda pair: 2 * pair.a.nbytes)) as results:
            for pair, differ in zip(all_pairs, results, strict=True):
                if isinstance(differ, DcpxError):
                    pair.one.error = pair.one.error or differ
                else:
                    pair.one.is_changed = pair.one.is_changed or differ


def _cost(job: list[_Work]) -> int:
    return _COPIES * sum(work.nbytes for work in job)


def _dtypes(one: Compared) -> tuple[str, str]:
    assert isinstance(one.a, StoredTensor)
    assert isinstance(one.b, StoredTensor)
    return one.a.dtype, one.b.dtype


def _obstacle(one: Compared) -> DcpxError | None:
    """Why the items can't be compared, by what they are."""
    if isinstance(one.a, StoredObject) or isinstance(one.b, StoredObject):
        stored = len(one.a.parts) == len(one.b.parts) == 1
        return None if stored else CorruptError("the object isn't stored", Where(item=one.a.name))
    if one.a.dtype != one.b.dtype and not (is_numeric(one.a.dtype) and is_numeric(one.b.dtype)):
        both = f"elements of torch.{one.a.dtype} and of torch.{one.b.dtype}"
        remedy = "Load the tensors with torch"
        return UnsupportedError(f"{both} can't be compared as numbers", Where(item=one.a.name), remedy)
    return None


def _pairs_of(one: Compared) -> Iterator[_Pair]:
    if isinstance(one.a, StoredObject):
        return (_Pair(one, a, b) for a, b in zip(one.a.parts, one.b.parts, strict=True))

    def place(part: StoredItem) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        offset = part.index.offset
        return None if offset is None else tuple(offset), None if part.shape is None else tuple(part.shape)

    others = {place(part): part for part in one.b.parts}
    return (_Pair(one, part, others.get(place(part))) for part in one.a.parts)


def _unproven(pair: _Pair, sources_a: Sources, sources_b: Sources) -> Iterator[_Work]:
    """What must be read of a pair, because nothing that is stored of it proves that it is equal.

    Two items are equal whose stored bytes have one hash in the manifests, or whose frames have one digest, which is
    made of the hashes of their chunks' contents. Chunks are equal that hold the same elements and whose hashes are.
    """
    a, b = pair.a, pair.b
    chunks: list[_Chunk] = []
    unequal: list[_Chunk] = []
    if b is not None and a.dtype == b.dtype:
        stored = a.seal is not None and a.seal.kind == "stored" and a.seal == b.seal
        if stored and list(a.info.transform_descriptors or ()) == list(b.info.transform_descriptors or ()):
            return
        if a.is_packed and b.is_packed:
            frames = _frame(sources_a, a), _frame(sources_b, b)
            if frames[0].digest == frames[1].digest:
                return
            others = set(_chunks(b, frames[1]))
            chunks = _chunks(a, frames[0]) if others else []
            unequal = [chunk for chunk in chunks if chunk not in others]
    if a.shape is None:
        yield _Work(pair, None)
    else:
        yield from (_Work(pair, piece) for piece in (_pieces(a, unequal) if chunks else pieces_of(a)))


def _frame(sources: Sources, item: StoredItem) -> FrameMap:
    source = sources[item.info.relative_path]
    with reading(source.name, item.name):
        return frame_in(source, item)


_Chunk: TypeAlias = "tuple[int, int, int]"
"""The elements from the first to before the last that a chunk holds, and the hash of its content."""


def _chunks(part: StoredItem, frame: FrameMap) -> list[_Chunk]:
    """The chunks of a part in dcpx's own container, which has chunks of its own before and after the elements; none of
    any other, whose bytes may mean other elements."""
    hint = None if part.shape is None else checked_hint(part, frame)
    last = frame.count - 1
    if hint is None or last < 1:
        return []
    own = own_container(hint.dtype, hint.shape)
    begins = own.before.raw_size
    if (
        (hint.payload_offset, frame.begins[1], frame.begins[last]) != (begins, begins, begins + hint.nbytes)
        or frame.index[0][2] != own.before.content
        or frame.index[last][2] != own.after.content
    ):
        return []
    return [(*chunk_elements(frame, number, hint), frame.index[number][2]) for number in range(1, last)]


def _pieces(part: StoredItem, chunks: Iterable[_Chunk]) -> Iterator[Piece]:
    """The elements of these chunks, those of adjacent ones together, in pieces of at most PIECE bytes or one chunk."""
    most = PIECE // ITEM_SIZES[str(part.dtype)]
    found: Piece | None = None
    for begin, end, _ in chunks:
        if found is not None and found.end == begin and end - found.begin <= most:
            found = found._replace(end=end)
            continue
        if found is not None:
            yield found
        found = Piece(part, begin, end)
    if found is not None:
        yield found
