"""Runner: does the jobs of a load on the workers: read, verify, and decode into the targets.

The direct path is for frames that say where a tensor's elements lie and what they are: each chunk is decoded once,
into the target's own memory where possible. All else goes through `containers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, cast

from ..catalog.containers import read_object
from ..catalog.frames import HEAD, MOST_CHUNKS, checked_hint, frame_map, holds_own_container, whole_elements
from ..catalog.kept import Held
from ..catalog.limits import Limits
from ..errors import DcpxError
from ..frame import TensorHint
from ..frame.map import FrameMap
from ..located import reading
from ..pickles.trust import Trust
from ..registry import ExtensionRegistry
from ..store.source import FileSource
from .buffers import Buffers
from .containers import fill_from_container
from .decoding import Record, Step, decode_steps, decoding_steps, stored_records
from .failures import Failures
from .jobs import Chunks, Container, Done, Job, Neighbours, Wanted
from .packed import unpack
from .requests import RequestedItem

__all__ = ["Runner"]


class Runner:
    """Does any job, in any thread; it writes to nothing but the job's targets and `failures`."""

    def __init__(self, registry: ExtensionRegistry, limits: Limits, trust: Trust, failures: Failures) -> None:
        self._registry = registry
        self._limits = limits
        self._trust = trust
        self._failures = failures
        self._buffers = Buffers()

    def run(self, job: Job) -> Done:
        """Do the job. The error of an item, which names it and its file, is raised or goes to `failures`."""
        if isinstance(job, Neighbours):
            return self._read_neighbours(job)
        item = job.wanted.item
        with self._failures.reading(job.source.name, item):
            if isinstance(job, Chunks):
                return Done(job, self._read_chunks(job), [])
            return self._through_container(job)
        return Done(job, 0, [])

    # --- an item through its container --------------------------------------------------------------------------------

    def _through_container(self, job: Container, content: memoryview | None = None) -> Done:
        """Read an item from its stored bytes, which are `content` where they are in memory already."""
        item, targets = job.wanted
        sealed = item.seal is not None and item.seal.kind == "stored"
        if content is None and (sealed or job.source.far):
            content = self._whole(job.source, item)  # to be checked, and then read; or to be read at once
        if content is None:
            stored = job.source.part(item.info.offset, item.info.length)
        else:
            stored = cast(IO[bytes], Held(content))
        if sealed:
            item.check_stored(stored)
        if not targets:
            loaded = read_object(stored, item, self._registry, self._limits.most_bytes(item))
            return Done(job, 0, [(item, loaded)])
        return Done(job, fill_from_container(stored, item, self._registry, targets, self._trust), [])

    def _whole(self, source: FileSource, item: RequestedItem) -> memoryview:
        """All that is stored of an item; memory is taken once it's certain that there is as much."""
        begin, size = item.info.offset, item.info.length
        if size:
            source.read(begin + size - 1, 1)
        memory = self._buffers.stored(size)
        source.read_into(begin, memory)
        return memory

    # --- small items --------------------------------------------------------------------------------------------------

    def _read_neighbours(self, job: Neighbours) -> Done:
        stored = self._buffers.stored(job.size)
        try:
            with reading(job.source.name, job.wanted[0].item.name):
                job.source.read_into(job.offset, stored)
        except DcpxError as error:
            return self._read_apart(job, error)
        objects: list[tuple[RequestedItem, bytes]] = []
        steps: list[Step] = []
        nbytes, others = unpack(job, stored, self._buffers, self._failures)
        for wanted in others:
            item, targets = wanted
            with self._failures.reading(job.source.name, item):
                begin = item.info.offset - job.offset
                content = stored[begin : begin + item.info.length]
                found = self._unpack(wanted, content) if targets and item.is_packed else None
                if found is None:
                    done = self._through_container(Container(job.source, wanted), content)
                    objects += done.objects
                    nbytes += done.nbytes
                else:
                    filled, more = found
                    nbytes += filled
                    for step in more:
                        steps.append(step)
                        if len(steps) == MOST_CHUNKS:
                            nbytes += self._decode(job.source, steps)
                            steps = []
        return Done(job, nbytes + self._decode(job.source, steps), objects)

    def _read_apart(self, job: Neighbours, error: DcpxError) -> Done:
        """Read items one by one that can't be read at once: the one that is to blame is found, and in a partial load
        the others are read."""
        if len(job.wanted) == 1:
            with self._failures.of([job.wanted[0].item]):
                raise error
            return Done(job, 0, [])
        alone = []
        for wanted in job.wanted:
            info = wanted.item.info
            alone.append(self._read_neighbours(Neighbours(job.source, info.offset, info.length, [wanted])))
        return Done(job, sum(done.nbytes for done in alone), [pair for done in alone for pair in done.objects])

    def _unpack(self, wanted: Wanted, content: memoryview) -> tuple[int, Iterable[Step]] | None:
        """Unpack a whole small frame: the bytes that were filled, and the chunks still to be decoded. None where it
        must go through its container."""

        def read_at(offset: int, count: int) -> bytes:
            return bytes(content[offset : offset + count])

        def record(number: int) -> memoryview:
            begin, size = frame.record(number)
            return content[begin : begin + size]

        frame = frame_map(wanted.item, bytes(content[:HEAD]), read_at, len(content))
        hint = checked_hint(wanted.item, frame)
        if hint is None:
            return None
        for target in wanted.targets:
            target.prepare()
        elements = whole_elements(frame, hint, record)
        if elements is not None:
            return sum([target.fill(elements, 0) for target in wanted.targets]), ()
        if not holds_own_container(frame, hint, record):
            return None
        records = ((number, record(number)) for number in range(1, frame.count - 1))
        return 0, self._steps(wanted, frame, hint, records)

    # --- large items --------------------------------------------------------------------------------------------------

    def _read_chunks(self, job: Chunks) -> int:
        records = stored_records(job.source, job.wanted.item, job.frame, job.numbers, self._buffers)
        return self._decode(job.source, list(self._steps(job.wanted, job.frame, job.hint, records)))

    # --- both ---------------------------------------------------------------------------------------------------------

    def _steps(self, wanted: Wanted, frame: FrameMap, hint: TensorHint, records: Iterable[Record]) -> Iterator[Step]:
        return decoding_steps(wanted.item, wanted.targets, frame, hint, records, self._buffers)

    def _decode(self, source: FileSource, steps: list[Step]) -> int:
        try:
            return decode_steps(source, steps, self._failures)
        finally:
            self._buffers.release()
