"""`Writer`: DCP's FileSystemWriter with dcpx's extensions, whose failed saves fail."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from ..descriptor import Descriptor
from ..errors import ExtensionError, SaveError, Where, portable_errors
from ..extension import StreamTransformExtension
from ..extensions.pack import Pack
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import Meter, OnProgress
from ..registry import is_stream_transform
from ._torch import StoragePrefix, is_object, refuse_url, split_by_size, tensor_bytes
from .files import DataFiles
from .packing import pack_items
from .streaming import stream_items

__all__ = ["Writer"]


class Writer(FileSystemWriter):
    """Writes a checkpoint to a directory in DCP's layout, every item through `pack`.

    `pack` is any stream transform, a Chain for several; None stores plain items. `threads` encode (by default as many
    as the process may use cores); what they and the copies from a device hold is limited to about `budget` bytes.
    `sync_files` fsyncs every file before the checkpoint counts as saved. `single_file_per_rank=False` gives each item
    a file. `overwrite` allows writing over an existing checkpoint, which is refused otherwise. `progress` is called
    with a `Progress` as the save goes on. `cache_staged_state_dict` is FileSystemWriter's.

    An error in any thread, an extension's own included, fails the save: DCP then never publishes it, and what was
    written is removed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
        threads: int | None = None,
        budget: int = DEFAULT_BUDGET,
        single_file_per_rank: bool = True,
        sync_files: bool = True,
        cache_staged_state_dict: bool = False,
        overwrite: bool = False,
        progress: OnProgress | None = None,
    ) -> None:
        if pack is not None and not is_stream_transform(pack):
            raise ExtensionError(f"pack must be a StreamTransformExtension or None, not {pack!r}")
        refuse_url(path)
        if pack is not None:
            Descriptor.parse(pack.get_descriptor())  # what can't be read back is refused before anything is written
        check_crew(threads, budget)
        super().__init__(
            path,
            single_file_per_rank=single_file_per_rank,
            sync_files=sync_files,
            cache_staged_state_dict=cache_staged_state_dict,
            overwrite=overwrite,
        )
        self.pack = pack
        self.threads = threads
        self.budget = budget
        self.progress = progress

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        if not self.overwrite and self._metadata_exists():
            raise SaveError(
                "a checkpoint exists already", Where(str(self.path)), "Choose another path, or pass overwrite=True"
            )
        return super().prepare_local_plan(plan)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        prefix = cast(StoragePrefix, plan.storage_data).prefix
        checkpoint = self._checkpoint_id(plan)
        meter = Meter(self.progress, sum(map(tensor_bytes, plan.items)), len(plan.items))
        with portable_errors(SaveError), Crew(self.threads, self.budget) as crew:
            if type(self.pack) is Pack:
                objects_first = sorted(plan.items, key=is_object, reverse=True)
                with self._files(prefix) as files:
                    results = pack_items(objects_first, planner, self.pack, checkpoint, files, crew, meter)
            else:
                results = self._stream(plan.items, planner, prefix, checkpoint, crew, meter)
            _check_complete(plan.items, results)
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def _stream(
        self,
        items: list[WriteItem],
        planner: SavePlanner,
        prefix: str,
        checkpoint: bytes | None,
        crew: Crew,
        meter: Meter,
    ) -> list[WriteResult]:
        """Through an extension's streams, which work on one item at a time: a file for each thread."""

        shares = [share for share in split_by_size(crew.threads, items) if share]
        every = [self._files(f"{prefix}{number}_") for number in range(len(shares))]

        def write(part: tuple[DataFiles, list[WriteItem]]) -> list[WriteResult]:
            with part[0] as files:
                return stream_items(part[1], planner, self.pack, checkpoint, files, self.per_thread_copy_ahead, meter)

        try:
            written = crew.map(write, zip(every, shares, strict=True), lambda part: 0)
            return [result for results in written for result in results]
        except BaseException:
            for files in every:
                files.discard()
            raise

    def _files(self, prefix: str) -> DataFiles:
        one_per_item = not self.single_file_per_rank
        return DataFiles(self.fs, self.path, prefix, sync=self.sync_files, one_per_item=one_per_item)

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


@dataclass
class _Place(StoragePrefix):
    """What the coordinator tells each rank: how its files' names begin, and which save this is."""

    save_id: str


_spent_ids: set[str] = set()


def _check_complete(items: Iterable[WriteItem], results: Iterable[WriteResult]) -> None:
    """What was planned must have been stored, item by item."""
    missing = {item.index for item in items} - {result.index for result in results}
    if missing:
        name = min(index.fqn for index in missing)
        raise SaveError(f"{len(missing)} planned items were not stored", Where(item=name))
