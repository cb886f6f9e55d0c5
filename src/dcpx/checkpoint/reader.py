"""`Reader`: DCP's FileSystemReader with dcpx's extensions, parallel and verified, and errors that say where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import repeat
from typing import IO, Any, cast

from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from ..errors import DcpxError, LoadError, Where, portable_errors
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import Meter, OnProgress
from ..registry import ExtensionRegistry, default_registry
from ._torch import refuse_url
from .containers import located
from .items import request_bytes, stored_items
from .metadata import MAX_METADATA_SIZE, load_metadata
from .objects import SafeGlobal, checked_bytes
from .source import Sources
from .unpacking import Unpacker

__all__ = ["Reader"]


class Reader(FileSystemReader):
    """Reads a checkpoint directory that dcpx or stock DCP wrote, with any extensions of `registry`.

    `threads` decode (by default as many as the process may use cores), straight into the target tensors where these
    are contiguous and of the stored dtype; only what the plan needs is read, and all of it is verified. What they hold
    beside the targets is limited to about `budget` bytes; a tensor of a stock checkpoint, or behind another extension,
    is loaded as a whole. `progress` is called with a `Progress` as the load goes on.

    Nothing in a checkpoint is run. `.metadata` is read field by field. An object (what isn't a tensor) may be made of
    numbers, text, containers, dates, paths, NumPy's arrays and whatever `safe_globals` and torch's own list of them
    allow; `trust=True` gives it to DCP as it is, which runs what it says. `rank_local=True` reads the metadata that
    each rank wrote for itself, where DCP finds no common one.

    With `partial=True` damaged items don't end the load: they are in `failures` afterwards, with their errors by name.
    Every error names file, item and offset, and the targets that may be partly filled. Stock checkpoints of several
    extensions, which the stock reader applies in the wrong order, are read as well.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        registry: ExtensionRegistry | None = None,
        threads: int | None = None,
        budget: int = DEFAULT_BUDGET,
        progress: OnProgress | None = None,
        safe_globals: Sequence[SafeGlobal] = (),
        trust: bool = False,
        partial: bool = False,
        rank_local: bool = False,
    ) -> None:
        refuse_url(path)
        check_crew(threads, budget)
        super().__init__(path)
        self.metadata_error: DcpxError | None = None
        self.registry = default_registry() if registry is None else registry
        self.threads = threads
        self.budget = budget
        self.progress = progress
        self.safe_globals = safe_globals
        self.trust = trust
        self.partial = partial
        self.rank_local = rank_local
        self.failures: dict[str, DcpxError] = {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        try:
            return self._read_metadata(kwargs.get("rank"))
        except DcpxError as error:
            # DCP goes on without it, to look for a rank's own, and then reports that there is none.
            self.metadata_error = self.metadata_error or error
            raise

    def _read_metadata(self, rank: int | None = None) -> Metadata:
        path = self._get_metadata_path(rank)
        where = Where(str(path))
        if rank is not None and not self.rank_local:
            remedy = "Pass rank_local=True if each rank was saved by itself, without collectives"
            raise LoadError("a rank's own metadata was not asked for", where, remedy)
        try:
            with self.fs.create_stream(path, "rb") as stream:
                data = cast(IO[bytes], stream).read(MAX_METADATA_SIZE + 1)
        except FileNotFoundError as error:
            remedy = "Check the path; a save that failed leaves no metadata"
            raise LoadError("there is no checkpoint here", where, remedy) from error
        except OSError as error:
            raise LoadError(f"the metadata can't be read: {error}", where) from error
        try:
            metadata = load_metadata(data)
        except DcpxError as error:
            raise error.located(str(path)) from error.__cause__
        meta = metadata.storage_meta or StorageMeta()
        meta.load_id = self.load_id
        metadata.storage_meta = meta
        return metadata

    def _checked(self, content: bytes) -> bytes:
        """An object as the planner may unpickle it."""
        return content if self.trust else checked_bytes(content, self.safe_globals)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self.metadata = metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        with portable_errors(LoadError), located(str(self.path), None):
            items = stored_items(plan.items, self.metadata)
            total = sum(map(request_bytes, plan.items, repeat(self.metadata)))
            meter = Meter(self.progress, total, len(plan.items))
            with Sources(self.fs, self.path) as sources, Crew(self.threads, self.budget) as crew:
                unpacker = Unpacker(planner, self.registry, sources, crew, meter, self._checked, self.partial)
                self.failures = unpacker.read(items)
        future: Future[None] = Future()
        future.set_result(None)
        return future
