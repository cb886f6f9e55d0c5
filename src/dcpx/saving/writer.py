"""`Writer`: DCP's FileSystemWriter with dcpx's extensions, whose failed saves fail and leave what was there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from ..catalog.manifest import check_user
from ..catalog.names import data_file_names, metadata_name
from ..dcp.private import StoragePrefix, is_object, own_rank, set_version, split_by_size, tensor_bytes
from ..dcp.store import Storage, store_of
from ..descriptor import Descriptor
from ..errors import ExtensionError, SaveError, Where, portable_errors
from ..extension import StreamTransformExtension
from ..extensions.pack import Pack
from ..located import writing
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..pickles.trust import SafeGlobal
from ..progress import Meter, OnProgress
from ..registry import is_stream_transform
from ..store.address import StorageOptions, check_path, is_address, shown_path
from ..store.contract import Store
from .changes import Changes
from .commit import Commit, check_free
from .files import DataFiles
from .keys import warn_of_keys
from .object_check import ObjectCheck
from .packing import pack_items
from .replicas import compare, replicas
from .results import StoredItemResult, Written
from .streaming import stream_items

__all__ = ["Writer"]


class Writer(FileSystemWriter):
    """Writes a checkpoint to a directory or another store in DCP's layout, every item through `pack`.

    `path` is a local path or an address, such as `s3://bucket/run/step-10`; `storage_options` are for its client.

    `pack` is any stream transform, a Chain for several; None stores plain items. `threads` encode (by default as many
    as the process may use cores; with 0 the one that saves does); what they and the copies from a device hold is
    limited to about `budget` bytes. `sync_files` fsyncs every file before the checkpoint counts as saved.
    `single_file_per_rank=False` gives each item a file. `overwrite` allows replacing an existing checkpoint, which is
    refused otherwise. `user`, a dictionary of what JSON can hold (a step, a loss, a commit's hash), goes to the
    manifest. An object that a load refuses by default, such as one of a class of your own, is said in a DcpxWarning;
    `strict` refuses it; `safe_globals` are what the load will allow. `progress` is called with a `Progress` as the save
    goes on. `cache_staged_state_dict` is FileSystemWriter's. `names="stock"` names the data files as stock DCP does,
    one for each rank, which some trainers look for: a save to the same place then writes over the old one's files, and
    if it fails neither is left.

    An error on any rank or thread, an extension's own included, fails the save. Until the moment when it succeeds, the
    checkpoint that it replaces stays whole, and is what readers find; see `commit`. Without collectives
    (`use_collectives=False`) that holds for each rank's checkpoint by itself.

    Refused is a tensor that has no elements in memory, and what ranks hold under one name and could never be loaded;
    what they hold in different values is a DcpxWarning of the coordinator. With DCP's plan caching an unchanged plan
    isn't compared again.
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
        user: Mapping[str, Any] | None = None,
        strict: bool = False,
        safe_globals: Sequence[SafeGlobal] = (),
        names: Literal["dcpx", "stock"] = "dcpx",
        progress: OnProgress | None = None,
        storage_options: StorageOptions | Storage | None = None,
    ) -> None:
        """Nothing is written yet. ExtensionError for what is no stream transform or can't be named, UnsupportedError
        for a store whose package isn't installed, SaveError for one that is asked at once and can't be reached,
        ValueError for other wrong arguments."""
        if pack is not None and not is_stream_transform(pack):
            raise ExtensionError(f"pack must be a StreamTransformExtension or None, not {pack!r}")
        if names not in ("dcpx", "stock"):
            raise ValueError(f"names must be 'dcpx' or 'stock', not {names!r}")
        storage = storage_options if isinstance(storage_options, Storage) else Storage(storage_options)
        check_path(path, storage.storage_options)
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
        self.fs = storage
        self.path = self.fs.init_path(path)
        self._check_store()
        self.pack = pack
        self.threads = threads
        self.budget = budget
        self.user = check_user(user)
        self.strict = strict
        self.safe_globals = safe_globals
        self.names = names
        self.progress = progress
        self._commit: Commit | None = None
        self._planned: list[WriteItem] = []
        self.ranks: int | None = None
        """How many ranks the save has by whoever began it; None where nobody said. Torch takes a process whose group is
        gone for one that is alone, which would make its part the checkpoint."""
        self.odd_keys: Sequence[str] = ()
        """What the coordinator has to warn of, where DCP's planner flattens the state; see `keys`."""

    def __repr__(self) -> str:
        return f"Writer({shown_path(self.path)!r}, pack={self.pack!r})"

    def __del__(self) -> None:
        # DCP tells no writer that another rank has failed. Once nobody can go on with the save, it goes.
        if getattr(self, "_commit", None) is not None and self._process == os.getpid():
            self.discard()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_commit": None}  # a save is gone through in one process

    @property
    def checkpoint_id(self) -> str | os.PathLike[str]:
        """Where the checkpoint goes, for torch's log: without the password that an address may hold."""
        return shown_path(self.path) if is_address(self.path) else self.path

    # --- on every rank ------------------------------------------------------------------------------------------------

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another save, to `checkpoint_id` if it is given; DCP calls it. ValueError for what is no path."""
        if checkpoint_id is not None:
            check_path(checkpoint_id)
        super().reset(checkpoint_id)
        self._check_store()

    def _check_store(self) -> None:
        if isinstance(self.fs, Storage):
            with writing(shown_path(self.path)):
                self.fs.check(self.path)

    def storage_meta(self) -> StorageMeta | None:
        """What the metadata says of where it lies: no password that the address may hold."""
        return StorageMeta(checkpoint_id=shown_path(self.path), save_id=self.save_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take up whether this rank coordinates the save; DCP calls it once for each."""
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self.discard()  # of a save before, which failed on another rank
        self._commit = None
        self._process = os.getpid()
        self._planned = []
        if is_coordinator:  # here an error, which a warning may be made to be, is every rank's
            warn_of_keys(self.odd_keys)
        if self.save_id in _spent_ids:  # the last save's, where nobody called reset
            self.save_id = str(uuid.uuid4())

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Make the directory. SaveError if it holds a checkpoint that is not to be replaced, or can't be made."""
        with portable_errors(SaveError), writing(shown_path(self.path)):
            _check_names(plan.items)
            self._store.make()
            check_free(self._store, self._pointer, self.overwrite)
        self._planned = plan.items
        if self._own_rank is not None:
            plan = replace(plan, storage_data=_Place(f"__{self._own_rank}_", self.save_id, 1))
        return plan

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Store this rank's items, durably with `sync_files`. SaveError, or another DcpxError, which names the item;
        nothing of them is left then."""
        place = cast(StoragePrefix, plan.storage_data)
        checkpoint = self._checkpoint(place)
        names = data_file_names("" if self.names == "stock" else checkpoint or str(uuid.uuid4()), place.prefix)
        item_checkpoint = None if checkpoint is None else uuid.UUID(checkpoint).bytes
        changes = Changes()
        meter = Meter(self.progress, sum(map(tensor_bytes, plan.items)), len(plan.items))
        checked = ObjectCheck(planner, self.safe_globals)
        with portable_errors(SaveError), Crew(self.threads, self.budget) as crew:
            if type(self.pack) is Pack:
                objects_first = sorted(plan.items, key=is_object, reverse=True)
                with self._files(names) as files:
                    results = pack_items(
                        objects_first, checked, self.pack, item_checkpoint, files, crew, meter, changes
                    )
                    checked.report(strict=self.strict)  # what it refuses leaves no files
                written = Written(results, files.records)
            else:
                written = self._stream(plan.items, checked, names, item_checkpoint, crew, meter, changes)
            _check_complete(plan.items, written)
            if isinstance(place, _Place) and place.ranks > 1:
                values = getattr(planner, "state_dict", None)
                written.held = replicas(self._planned, values if isinstance(values, Mapping) else None)
            with writing(shown_path(self.path)):
                self._store.sync()  # so that no manifest is ever there without what it lists
        changes.warn()
        future: Future[list[WriteResult]] = Future()
        future.set_result(written)
        return future

    def _checkpoint(self, place: StoragePrefix) -> str | None:
        """Which save this is, or None where that isn't known, and items don't say it."""
        if isinstance(place, _Place) and place.save_id not in _spent_ids:
            _spent_ids.add(place.save_id)
            return place.save_id
        # DCP's plan caching hands out the plan of an older save, or of a stock one: only the coordinator knows more.
        if self._commit is None:
            return None
        _spent_ids.add(self.save_id)
        return self.save_id

    def _stream(
        self,
        items: list[WriteItem],
        planner: ObjectCheck,
        names: Iterator[str],
        checkpoint: bytes | None,
        crew: Crew,
        meter: Meter,
        changes: Changes,
    ) -> Written:
        """Through an extension's streams, which work on one item at a time: a file for each thread."""

        shares = [share for share in split_by_size(max(crew.threads, 1), items) if share]
        every = [self._files(names) for _ in shares]

        def write(part: tuple[DataFiles, list[WriteItem]]) -> list[StoredItemResult]:
            with part[0] as files:
                ahead = self.per_thread_copy_ahead
                return stream_items(part[1], planner, self.pack, checkpoint, files, ahead, meter, changes)

        try:
            written = list(crew.map(write, zip(every, shares, strict=True), lambda part: 0))
            planner.report(strict=self.strict)
        except BaseException:
            for files in every:
                files.discard()
            raise
        results = (result for share in written for result in share)
        return Written(results, (record for files in every for record in files.records))

    def _files(self, names: Iterator[str]) -> DataFiles:
        one_per_item = not self.single_file_per_rank
        return DataFiles(self._store, names, one_per_item=one_per_item, one_in_all=self.names == "stock")

    @property
    def _store(self) -> Store:
        return store_of(self.fs, self.path, sync=self.sync_files)

    @property
    def _own_rank(self) -> int | None:
        """This rank's number, if its checkpoint is its own; None where all ranks have one together."""
        return own_rank(self)

    @property
    def _pointer(self) -> str:
        return metadata_name(self._own_rank)

    # --- on the coordinator, or on each rank where there is none ------------------------------------------------------

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Begin the commit, and tell each rank which save this is. SaveError if the ranks aren't all there."""
        if self.ranks is not None and len(plans) != self.ranks:
            cause = f"the save was begun by {self.ranks} ranks, and the process group was destroyed since"
            raise SaveError(cause, Where(shown_path(self.path)), "Destroy it once the save's result() is there")
        self._commit = Commit(self._store, self.save_id, self._pointer, overwrite=self.overwrite, user=self.user)
        with portable_errors(SaveError):
            self._commit.begin()
        return [
            replace(plan, storage_data=_Place(f"__{rank}_", self.save_id, len(plans)))
            if plan.storage_data is None
            else plan
            for rank, plan in enumerate(plans)
        ]

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Make what all ranks stored the checkpoint, or raise SaveError and leave what was there."""
        assert self._commit is not None
        set_version(metadata)
        metadata.storage_data = {result.index: result.storage_data for rank in results for result in rank}
        metadata.storage_meta = self.storage_meta()
        with portable_errors(SaveError):
            try:
                _check_paths(metadata.planner_data)
                _compare_ranks(results)
            except BaseException:
                self._commit.discard()
                raise
            self._commit.publish(metadata, results, self.look_before_commit)

    def look_before_commit(self, files: Mapping[str, bytes]) -> None:
        """Called once everything is stored but `files`, the pointer and the manifest by their names: what this raises
        takes the save back. Does nothing here."""

    @property
    def committed(self) -> bool:
        """Whether this process has made the save the checkpoint, or may have."""
        return self._commit is not None and self._commit.moved

    def discard(self) -> None:
        """Remove what a save that failed on another rank has left here; does nothing once a save was committed.

        For the coordinator, and once no rank is writing any more.
        """
        if self._commit is not None:
            self._commit.discard()


@dataclass
class _Place(StoragePrefix):
    """What the coordinator tells each rank: the rank's part of its files' names, which save this is, and how many ranks
    save together."""

    save_id: str
    ranks: int


_spent_ids: set[str] = set()


def _compare_ranks(results: list[list[WriteResult]]) -> None:
    def stored_by(name: str) -> int:
        return next(rank for rank, stored in enumerate(results) if any(result.index.fqn == name for result in stored))

    compare([rank.held for rank in results if isinstance(rank, Written)], stored_by)


def _check_names(items: Iterable[WriteItem]) -> None:
    """A planner that doesn't flatten a state takes its keys for names, whatever they are."""
    for item in items:
        if type(item.index.fqn) is not str:
            name = item.index.fqn
            raise SaveError(f"the item's name {name!r} is no string", Where(item=str(name)), "Give the state such keys")


def _check_paths(paths: object) -> None:
    """No item may lie where another's containers do, as under the keys 1 and "1" of one dictionary: DCP, which
    flattened the state, puts back what lies within them."""
    if not isinstance(paths, Mapping):
        return
    known = {path for path in paths.values() if isinstance(path, tuple)}
    for name, path in paths.items():
        if isinstance(path, tuple) and any(path[:end] in known for end in range(1, len(path))):
            cause = "another item lies where this one's dictionary does: two of its keys have the same text"
            raise SaveError(cause, Where(item=str(name)), "Give the state keys of different texts")


def _check_complete(items: Iterable[WriteItem], results: Iterable[WriteResult]) -> None:
    """What was planned must have been stored, item by item."""
    missing = {item.index for item in items} - {result.index for result in results}
    if missing:
        name = min(index.fqn for index in missing)
        raise SaveError(f"{len(missing)} planned items were not stored", Where(item=name))
