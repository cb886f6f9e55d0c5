"""Reader: DCP's reader of a checkpoint, parallel and verified, with dcpx's extensions and errors that say where."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from ..catalog.items import sharing
from ..catalog.limits import Limits
from ..catalog.manifest import Manifest
from ..catalog.names import metadata_name
from ..catalog.pointer import Pointed, is_replaced, read_pointer
from ..catalog.protection import Require, check_encrypted
from ..dcp.metadata import DCP
from ..dcp.private import HAS_RANK_LOCAL, takes_memory
from ..dcp.store import Storage, store_of
from ..errors import (
    CorruptError,
    DcpxError,
    LoadError,
    NotFoundError,
    ReplacedError,
    TrustError,
    UnsupportedError,
    Where,
    portable_errors,
)
from ..located import reading
from ..parallel import DEFAULT_BUDGET, Crew, check_crew, worker_count
from ..pickles.trust import SafeGlobal, Trust
from ..progress import Meter, OnProgress
from ..registry import ExtensionRegistry, default_registry
from ..store.address import StorageOptions, check_path, is_address, shown_path
from ..store.contract import Store
from ..store.source import Sources
from .casts import check_casts
from .exchange import Exchange
from .objects import checked_bytes
from .open_files import OpenFiles
from .requests import RequestedItem, common_requests, is_whole, request_bytes, requested_items
from .unpacking import Unpacker

__all__ = ["Reader"]

_MOST_NAMED = 10
"""Tensors that an error names beside its own."""

_log = logging.getLogger(__name__)


class Reader(FileSystemReader):
    """Reads a checkpoint that dcpx or stock DCP wrote, with any extensions of `registry`.

    `path` is a local path or an address, such as `s3://bucket/run/step-10`; `storage_options` are for its client.

    `threads` threads decode, by default as many as the process may use cores, straight into the target tensors where
    these are contiguous and of the stored dtype. Only what the plan needs is read, and all of it is verified. Beside
    the targets about `budget` bytes are held; but a tensor of a stock checkpoint, or behind another extension, is
    loaded as a whole. `progress` is called with a `Progress` as the load goes on.

    Nothing in a checkpoint is run. `.metadata` is read field by field. An object (what isn't a tensor) may be made of
    numbers, text, containers, dates, paths, NumPy's arrays and whatever `safe_globals` and torch's own list of them
    allow; `trust=True` gives it to DCP as it is, which runs what it says. A tensor that is more than elements may be of
    the class of the tensor that it is loaded into, or of what these allow; with `trust=True` of any. `rank_local=True`
    reads the metadata that each rank wrote for itself, where DCP finds no common one.

    What dcpx wrote must be what its manifest says: `.metadata` byte for byte, and every item that is loaded. A
    checkpoint without a manifest, as stock DCP writes it, is loaded with whatever checks its items bring, after a
    warning in the log; `require="checksums"` refuses it. `require="encrypted"` refuses every item that no extension
    decrypts, whatever the metadata says. `limits` bounds what a checkpoint may make the reader allocate.

    A stored tensor is cast to its target's dtype, as DCP does it; where that loses range or precision, a DcpxWarning
    says so. `cast=False` refuses every other dtype than the stored one.

    With `partial=True` an item that can't be read doesn't end the load: `failures` holds its error afterwards, by the
    item's name, and that of a lost manifest, by its file's. Every error names file, item and offset, and the targets
    that may be partly filled. Stock checkpoints of several extensions, which the stock reader applies in the wrong
    order, are read as well.
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
        require: Require | None = None,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
        partial: bool = False,
        rank_local: bool = False,
        cast: bool = True,
        storage_options: StorageOptions | Storage | None = None,
    ) -> None:
        """Nothing is opened yet. ValueError for wrong arguments; UnsupportedError where this torch can't do what is
        asked for, or a store's package isn't installed; LoadError for a store that is asked at once, and fails."""
        if require not in (None, *get_args(Require)):
            raise ValueError(f"require must be 'checksums', 'encrypted' or None, not {require!r}")
        if rank_local and not HAS_RANK_LOCAL:
            raise UnsupportedError(f"torch {torch.__version__} can't load with rank_local=True", remedy="Upgrade torch")
        storage = storage_options if isinstance(storage_options, Storage) else Storage(storage_options)
        check_path(path, storage.storage_options)
        check_crew(threads, budget)
        super().__init__(path)
        self.fs = storage
        self.path = self.fs.init_path(path)
        self._check_store()
        self.metadata_error: DcpxError | None = None
        self.registry = default_registry() if registry is None else registry
        self.threads = threads
        self.budget = budget
        self.progress = progress
        self.safe_globals = safe_globals
        self.trust = trust
        self.require = require
        self.limits = limits
        self.partial = partial
        self.rank_local = rank_local
        self.cast = cast
        self.manifest: Manifest | None = None
        self.failures: dict[str, DcpxError] = {}
        self._ahead: Pointed[Metadata] | None = None  # read already, for all ranks
        self._known: Mapping[str, bytes | None] | None = None  # what another rank has read
        self._group: dist.ProcessGroup | None = None
        self._shares = False  # whether the ranks of that group read for one another
        self._opened: tuple[str, str] | None = None  # the pointer that was read, and its content's digest
        self.own = False
        """Whether what is loaded is this rank's own checkpoint; then the ranks read without collectives."""
        self.finished = False

    def __repr__(self) -> str:
        return f"Reader({shown_path(self.path)!r})"

    @property
    def checkpoint_id(self) -> str | os.PathLike[str]:
        """Where the checkpoint lies, for torch's log: without the password that an address may hold."""
        return shown_path(self.path) if is_address(self.path) else self.path

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another load, of `checkpoint_id` if it is given; DCP calls it. ValueError for what is no path."""
        if checkpoint_id is not None:
            check_path(checkpoint_id)
        super().reset(checkpoint_id)
        self._check_store()

    def _check_store(self) -> None:
        if isinstance(self.fs, Storage):
            with reading(shown_path(self.path), foreign=OSError):
                self.fs.check(self.path)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What is in the checkpoint, or with `rank=` in that rank's own. Nothing is run; `manifest` is known then.

        Raises NotFoundError, LostPointerError, CorruptError, TrustError or another DcpxError, which names the file.
        """
        rank = kwargs.get("rank")
        if rank is None:
            self.metadata_error = None
        elif self.metadata_error is not None and not isinstance(self.metadata_error, NotFoundError):
            raise self.metadata_error  # the common one is there but can't be read; a rank's own would be older
        try:
            metadata = self._read_metadata(rank)
        except DcpxError as error:
            # DCP goes on without it, to look for a rank's own, and then reports that there is none.
            if rank is None or self.rank_local:
                self.metadata_error = error
            raise
        self.metadata_error = None
        return metadata

    def _read_metadata(self, rank: int | None = None) -> Metadata:
        pointer = metadata_name(rank)
        place = Where(self._store.place(pointer))
        if rank is not None and not self.rank_local:
            remedy = "Pass rank_local=True if each rank was saved by itself, without collectives"
            raise LoadError("a rank's own metadata was not asked for", place, remedy)
        pointed, self._ahead = self._ahead if rank is None else None, None
        if pointed is None:
            pointed = self._read_pointer(pointer, self._known if rank is None else None)
        metadata, damage, self.manifest = pointed.metadata, pointed.damage, pointed.manifest
        self._opened = pointer, pointed.digest
        self.failures = {} if damage is None else {os.path.basename(damage.where.file or pointer): damage}
        if self.manifest is None:
            if self.require == "checksums":
                raise TrustError("the checkpoint has no manifest to check it against", place)
            _log.warning("%s has no manifest: what is loaded from it is unverified", place.file)
        meta = metadata.storage_meta or StorageMeta()
        meta.load_id = self.load_id
        metadata.storage_meta = meta
        return metadata

    def _read_pointer(self, pointer: str, known: Mapping[str, bytes | None] | None = None) -> Pointed[Metadata]:
        limit = self.limits.metadata_size
        return read_pointer(self._store, pointer, DCP, limit, without_manifest=self.partial, known=known)

    def read_for_all(self) -> Mapping[str, bytes | None]:
        """Read `.metadata` and its manifest, which the next `read_metadata` takes up, and return what every rank's
        `know` takes. Raises what `read_metadata` does."""
        self._ahead = self._read_pointer(metadata_name(None))
        return self._ahead.files

    def know(self, files: Mapping[str, bytes | None] | None) -> None:
        """Take what another rank has read for granted, in the next `read_metadata` and those after it; with None,
        nothing any more. It is checked all the same."""
        self._known = files

    def share(self, process_group: dist.ProcessGroup | None) -> None:
        """Let the ranks of the group, all of which load with this and with a planner of dcpx's, read for one another
        what all of them need, where each read is a request to another machine."""
        self._group = process_group
        self._shares = self._store.connections > 0 and takes_memory(process_group)

    @property
    def _store(self) -> Store:
        return store_of(self.fs, self.path)

    def _crew(self, far: bool) -> Crew:
        """Where most reads are requests, more of them are under way than there are cores. Where the ranks read for one
        another, half of the budget is what they exchange."""
        budget = self.budget // 2 if self._shares else self.budget
        threads = max(worker_count(), self._store.connections) if far and self.threads is None else self.threads
        return Crew(threads, budget)

    def _checked(self, content: bytes) -> bytes:
        """An object's content as the planner may unpickle it. UnsupportedError or another DcpxError if it may not."""
        return content if self.trust else checked_bytes(content, self.safe_globals)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take up what `read_metadata` has read; DCP calls it once for each load."""
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self.metadata = metadata
        self.finished = False
        self.own = not kwargs.get("use_collectives", True)

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Put into the plan which save this rank has opened, and of how many bytes it can be told."""
        meta = self.metadata.storage_meta
        save_id = None if meta is None or self.own else meta.save_id  # a rank's own save is no other rank's
        return replace(plan, storage_data=_Opened(save_id, self.budget // 2 if self._shares else 0))

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Tell the ranks what all of them ask for. ReplacedError unless all have opened the same save."""
        if len({plan.storage_data.save_id for plan in plans}) > 1:
            cause = "the checkpoint was replaced while it was being opened: some ranks see another save than others"
            raise ReplacedError(cause, Where(self._store.place("")))
        budget = min(plan.storage_data.budget for plan in plans)
        if len(plans) < 2 or budget == 0:
            return plans
        return [
            replace(plan, storage_data=_Common(positions, budget))
            for plan, positions in zip(plans, common_requests(plans), strict=True)
        ]

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read and verify what the plan asks for, and fill the planner's targets.

        Raises CorruptError, LoadError or another DcpxError. With `partial` the error of an item goes to `failures`.
        """
        with portable_errors(LoadError), self._noticing_replacement(), reading(shown_path(self.path)):
            items = requested_items(plan.items, self.metadata, self.manifest)
            with self._exchange(plan, items) as exchange:
                check_casts(plan.items, self.metadata, planner, refuse=not self.cast)
                if self.require == "encrypted":
                    check_encrypted(items, self.registry)
                total = sum(map(request_bytes, plan.items, repeat(self.metadata)))
                meter = Meter(self.progress, total, len(plan.items))
                trust = Trust(self.safe_globals, self.trust)
                far = self._store.connections > 0 and exchange.nbytes < total // 4
                with Sources(self._store, self._sizes(), exchange.find) as sources, self._crew(far) as crew:
                    sources.hold(item.info.relative_path for item in items)
                    files = OpenFiles(sources, exchange)
                    unpacker = Unpacker(
                        planner, self.registry, files, crew, meter, self._checked, self.limits, self.partial, trust
                    )
                    self.failures |= unpacker.read(items)
        self.finished = True
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def _exchange(self, plan: LoadPlan, items: Sequence[RequestedItem]) -> Exchange:
        """What the ranks are to read for one another: what all of them ask for, and as a whole."""
        told = plan.storage_data
        if not isinstance(told, _Common):
            return Exchange(self._store, [], 0, None)
        positions = set(told.positions)
        wanted = [item for item in items if positions.intersection(item.numbers) and is_whole(item)]
        return Exchange(self._store, wanted, told.budget, self._group)

    @contextmanager
    def _noticing_replacement(self) -> Iterator[None]:
        """ReplacedError instead of an error of the block, if another save has replaced the checkpoint meanwhile: it
        removes the files of the one that is being read, which are not damaged then."""
        try:
            yield
        except DcpxError as error:
            self._check_replaced(error)
            raise self._naming_copies(error) from error.__cause__
        if self.failures:
            self._check_replaced(next(iter(self.failures.values())))

    def _naming_copies(self, error: DcpxError) -> DcpxError:
        """An error of damage names all tensors that stand on it."""
        damaged = error.where.item if isinstance(error, CorruptError) else None
        names = sharing(self.metadata, damaged) if damaged is not None else []
        if not names:
            return error
        shown = ", ".join(map(repr, names[:_MOST_NAMED])) + (" and more" if len(names) > _MOST_NAMED else "")
        return type(error)(f"{error.cause}; {shown} stand on the same bytes", error.where, error.remedy)

    def _check_replaced(self, error: DcpxError) -> None:
        if self._opened is not None and is_replaced(self._store, *self._opened):
            cause = f"the checkpoint was replaced while it was being loaded: {error.cause}"
            raise ReplacedError(cause, error.where) from error

    def _sizes(self) -> dict[str, int]:
        """The data files' sizes in bytes, which are checked when they are opened. A partial load has none: it takes
        every item that is whole, even in a file that has grown."""
        return {} if self.manifest is None or self.partial else {file.name: file.size for file in self.manifest.files}


@dataclass(frozen=True)
class _Opened:
    """What a rank says to the coordinator: which save it has opened, and how many bytes it lets others tell it at once;
    0 where the ranks don't read for one another."""

    save_id: str | None
    budget: int


@dataclass(frozen=True)
class _Common:
    """What the coordinator says to a rank: where in its plan are the requests that all ranks have, and the bytes that
    the ranks exchange at once."""

    positions: list[int]
    budget: int
