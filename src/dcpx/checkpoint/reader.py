"""`Reader`: DCP's FileSystemReader with dcpx's extensions, parallel and verified, and errors that say where."""

from __future__ import annotations

import os
from itertools import repeat
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from ..errors import CorruptError, DcpxError, LoadError, Where, portable_errors
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import Meter, OnProgress
from ..registry import ExtensionRegistry, default_registry
from ._torch import refuse_url
from .containers import located
from .items import request_bytes, stored_items
from .source import Sources
from .unpacking import Unpacker

__all__ = ["Reader"]


class Reader(FileSystemReader):
    """Reads a checkpoint directory that dcpx or stock DCP wrote, with any extensions of `registry`.

    `threads` decode (by default as many as the process may use cores), straight into the target tensors where these
    are contiguous and of the stored dtype; only what the plan needs is read, and all of it is verified. What they hold
    beside the targets is limited to about `budget` bytes; a tensor of a stock checkpoint, or behind another extension,
    is loaded as a whole. `progress` is called with a `Progress` as the load goes on.

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
    ) -> None:
        refuse_url(path)
        check_crew(threads, budget)
        super().__init__(path)
        self.metadata_error: DcpxError | None = None
        self.registry = default_registry() if registry is None else registry
        self.threads = threads
        self.budget = budget
        self.progress = progress

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        try:
            return self._read_metadata(*args, **kwargs)
        except DcpxError as error:
            # DCP goes on without it, to look for a rank's own, and then reports that there is none.
            self.metadata_error = self.metadata_error or error
            raise

    def _read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        where = Where(str(self._get_metadata_path(kwargs.get("rank"))))
        try:
            metadata = super().read_metadata(*args, **kwargs)
        except FileNotFoundError as error:
            remedy = "Check the path; a save that failed leaves no metadata"
            raise LoadError("there is no checkpoint here", where, remedy) from error
        except OSError as error:
            raise LoadError(f"the metadata can't be read: {error}", where) from error
        except Exception as error:
            raise CorruptError(f"the metadata can't be read: {error!r}", where) from error
        if not isinstance(metadata, Metadata):
            raise CorruptError(f"the metadata is a {type(metadata).__name__}", where)
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self.metadata = metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        with portable_errors(LoadError), located(str(self.path), None):
            items = stored_items(plan.items, self.metadata)
            total = sum(map(request_bytes, plan.items, repeat(self.metadata)))
            meter = Meter(self.progress, total, len(plan.items))
            with Sources(self.fs, self.path) as sources, Crew(self.threads, self.budget) as crew:
                Unpacker(planner, self.registry, sources, crew, meter).read(items)
        future: Future[None] = Future()
        future.set_result(None)
        return future
