"""`dcpx.save` and `dcpx.load`: DCP's own functions with dcpx's storage, and with errors that Python code can catch."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from .catalog.collector import paused_collector
from .catalog.limits import Limits
from .catalog.protection import Require
from .catalog.setting import HeldSetting
from .dcp.arrivals import Arrival
from .dcp.private import collectives, forget_plans, is_stateful
from .errors import DcpxError, LoadError, ReplacedError, SaveError, UnsupportedError, Where
from .extension import StreamTransformExtension
from .extensions.pack import Pack
from .loading.planner import ABSENT, OwnLoadPlanner
from .loading.reader import Reader
from .loading.shared import share_metadata
from .parallel import DEFAULT_BUDGET
from .pickles.trust import SafeGlobal
from .progress import OnProgress, telling
from .registry import ExtensionRegistry
from .saving.keys import named_by_text, odd_keys
from .saving.planner import OwnSavePlanner
from .saving.storable import name_unstorable
from .saving.writer import Writer
from .store.address import StorageOptions, shown_path

__all__ = ["beside_training", "check_state", "is_alone", "load", "raising", "save", "unfolded"]


def save(
    state_dict: dict[str, Any],
    path: str | os.PathLike[str],
    *,
    pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
    overwrite: bool = False,
    user: Mapping[str, Any] | None = None,
    strict: bool = False,
    sync: bool = True,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    progress: bool | OnProgress = False,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    no_dist: bool = False,
    use_collectives: bool = True,
    storage_options: StorageOptions | None = None,
) -> Metadata:
    """Save `state_dict` as a checkpoint at `path`; every rank calls it, as with `dcp.save`.

    `path` is a local directory or the address of one in another store, such as `s3://bucket/run/step-10`, for whose
    client `storage_options` are.

    `pack` is how items are stored (see `Pack`), `overwrite` allows replacing an existing checkpoint, `user` is put into
    the manifest, `sync` fsyncs the files. An object that a load refuses by default, such as one of a class of your own,
    is said in a DcpxWarning, and refused with `strict=True`. `threads` encode, by default as many as there are cores
    (with 0 the one that saves does), and hold about `budget` bytes. `progress` is True for a bar in the terminal (needs
    rich), or a function that is called with a `Progress`. `use_collectives=False` gives each rank a checkpoint of its
    own in the directory, for `load` with `rank_local=True`, and `no_dist=True` saves this process's state as if there
    were no others. Returns DCP's metadata.

    Of a plain tensor or an object that several ranks hold under one name one is stored: a DcpxWarning says where their
    values differ, as far as that can be seen cheaply, and SaveError where their shapes or dtypes do. A DcpxWarning also
    says where an object lies under a key that is no string: `load` puts it back where the state has that key, but DCP
    itself knows the key's text only.

    Raises SaveError, or another DcpxError that says more, on every rank; then nothing was published, and the checkpoint
    that was to be replaced is as it was. Without collectives that holds for the rank that failed; the others return.
    """
    alone = is_alone(process_group, no_dist=no_dist)
    check_state(state_dict)
    with _without_collector(), _shown(progress, f"saving {shown_path(path)}") as tell:
        writer = Writer(
            path,
            pack=pack,
            overwrite=overwrite,
            user=user,
            strict=strict,
            sync_files=sync,
            threads=threads,
            budget=budget,
            progress=tell,
            storage_options=storage_options,
        )
        together = 1 if alone or not use_collectives else dist.get_world_size(process_group)
        writer.ranks = beside_training.get() or together
        arrival = Arrival(process_group) if use_collectives and not alone else None
        with raising(SaveError, alone, arrival):
            try:
                state = {name: unfolded(name, one) for name, one in state_dict.items()}
                if getattr(planner, "flatten_state_dict", planner is None):
                    writer.odd_keys = odd_keys(state)
                metadata: Metadata = dcp_save(
                    {} if planner is None else state,
                    storage_writer=writer,
                    planner=OwnSavePlanner(state) if planner is None else planner,
                    process_group=process_group,
                    **collectives(use_collectives),
                    **_given(dcp_save, no_dist=no_dist),
                )
            except BaseException as error:
                writer.discard()
                if planner is not None:
                    forget_plans(planner)
                if isinstance(error, Exception) and not (use_collectives or writer.committed or alone):
                    _join_barrier(process_group)
                if isinstance(error, (Exception, CheckpointException)) and not _told(error):
                    name_unstorable(state_dict)
                raise
        return metadata


def load(
    state_dict: dict[str, Any],
    path: str | os.PathLike[str],
    *,
    registry: ExtensionRegistry | None = None,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    progress: bool | OnProgress = False,
    safe_globals: Sequence[SafeGlobal] = (),
    trust: bool = False,
    require: Require | None = None,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    partial: bool = False,
    strict: bool = True,
    cast: bool = True,
    rank_local: bool = False,
    planner: LoadPlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    no_dist: bool = False,
    storage_options: StorageOptions | None = None,
) -> dict[str, DcpxError]:
    """Load a checkpoint into `state_dict` in place; every rank calls it, as with `dcp.load`, resharding as DCP does.

    Reads what dcpx or stock DCP wrote; `path` and `storage_options`, `threads`, `budget`, `progress` and `no_dist` are
    those of `save`. Nothing in
    the checkpoint is run: what objects may be made of is said at `Reader`, with `registry`, `safe_globals`, `trust`,
    what `require`, `limits` and `cast=False` refuse, and `rank_local`. Where another save replaces the checkpoint
    meanwhile, all ranks begin again with the new one.
    Raises LoadError, CorruptError or another DcpxError; the state may be partly filled then.

    Returned is what was not loaded of this rank's state: the items' names, each with its error. That is nothing but
    with `partial`, which loads everything that is whole and whose failed targets may be partly filled, and with
    `strict=False`, which leaves as they are the items that the checkpoint doesn't have. What it has and the state
    hasn't is never loaded. A planner of your own has its own `allow_partial_load`: ValueError for both.
    """
    if planner is not None and not strict:
        raise ValueError("strict=False is for the default planner: pass allow_partial_load=True to your own")
    alone = is_alone(process_group, no_dist=no_dist)
    check_state(state_dict)
    chosen = OwnLoadPlanner(allow_partial_load=not strict) if planner is None else planner
    named = named_by_text(state_dict)
    with paused_collector, _shown(progress, f"loading {shown_path(path)}") as tell:
        reader = Reader(
            path,
            registry=registry,
            threads=threads,
            budget=budget,
            progress=tell,
            safe_globals=safe_globals,
            trust=trust,
            require=require,
            limits=limits,
            partial=partial,
            rank_local=rank_local,
            cast=cast,
            storage_options=storage_options,
        )
        try:
            options = _given(dcp_load, no_dist=no_dist)

            arrival = None if rank_local or alone else Arrival(process_group)
            if arrival is not None and isinstance(chosen, OwnLoadPlanner):
                reader.share(process_group)

            def attempt() -> None:
                if arrival is not None:
                    share_metadata(reader, process_group)
                with chosen.filling(named) if isinstance(chosen, OwnLoadPlanner) else nullcontext(named) as state:
                    dcp_load(state, storage_reader=reader, planner=chosen, process_group=process_group, **options)

            with raising(LoadError, alone, arrival), _quiet:
                try:
                    _load_what_stays(attempt)
                    if named is not state_dict:
                        state_dict.update({key: named[str(key)] for key in state_dict})
                except Exception:
                    if reader.own and not (reader.finished or alone):
                        _join_barrier(process_group)
                    raise
        except LoadError as error:
            raise reader.metadata_error or error from None
    absent = chosen.missing() if isinstance(chosen, OwnLoadPlanner) else []
    return reader.failures | {name: LoadError(ABSENT, Where(item=name), _LEFT) for name in absent}


_LEFT = "It was left as it was"


def is_alone(process_group: dist.ProcessGroup | None, *, no_dist: bool) -> bool:
    """Whether no other rank takes part. ValueError for a group of which this rank is none."""
    if no_dist or not (dist.is_available() and dist.is_initialized()):
        return True
    if process_group is not None and not isinstance(process_group, dist.ProcessGroup):
        raise ValueError(f"rank {dist.get_rank()} isn't in the process group: only the ranks that are may call this")
    return False


def check_state(state_dict: object) -> None:
    """TypeError for what is no dictionary, before anything is begun."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"the state must be a dictionary, not a {type(state_dict).__name__}")


beside_training: ContextVar[int] = ContextVar("beside_training", default=0)
"""By how many ranks the save was begun that runs in the background of this thread; 0 where none does. Then the
collector isn't paused, for the training goes on meanwhile."""


def _without_collector() -> AbstractContextManager[object]:
    return nullcontext() if beside_training.get() else paused_collector


def _given(function: Callable[..., object], **options: bool) -> dict[str, bool]:
    """The options that are set. UnsupportedError where this torch's `function` doesn't know one."""
    given: dict[str, bool] = {name: value for name, value in options.items() if value}
    unknown = given.keys() - inspect.signature(function).parameters.keys()
    if unknown:
        cause = f"torch {torch.__version__} has no {min(unknown)} in {function.__module__}.{function.__name__}"
        raise UnsupportedError(cause, remedy="Upgrade torch")
    return given


_ATTEMPTS = 10
"""How often another save may replace the checkpoint while it is being loaded."""


def _load_what_stays(load: Callable[[], None]) -> None:
    """Load, again where another save has replaced the checkpoint meanwhile: all ranks, which see the same failures."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return load()
        except CheckpointException as error:
            if not any(isinstance(cause, ReplacedError) for cause, _ in error.failures.values()):
                raise
        except ReplacedError:  # without collectives the other ranks don't know of it
            if dist.is_available() and dist.is_initialized():
                raise
    return load()


def unfolded(name: object, value: object) -> object:
    """The state of one that has one, as DCP takes it."""
    if not is_stateful(value):
        return value
    try:
        return value.state_dict()
    except Exception as error:
        cause = f"its state_dict() fails: {type(error).__name__}: {error}"
        raise SaveError(cause, Where(item=str(name))) from error


def _told(error: Exception | CheckpointException) -> bool:
    """Whether the error, or that of a rank, is one of dcpx's, which says what it is about."""
    causes = [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]
    return any(isinstance(cause, DcpxError) for cause in causes)


def _join_barrier(process_group: dist.ProcessGroup | None) -> None:
    """Without collectives DCP ends a save with a barrier: the other ranks wait there for this one, which has failed."""
    if dist.is_available() and dist.is_initialized():
        with suppress(RuntimeError):  # another rank is lost; why this one failed is what matters here
            dist.barrier(process_group)


def _shown(progress: bool | OnProgress, label: str) -> AbstractContextManager[OnProgress | None]:
    """What is told of the progress; a bar is shown by rank 0 alone."""
    return telling(progress if progress is not True else _rank() == 0, label)


_SAID_BY_DCP = ("Global metadata is not found", "Rank local metadata is not found")


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_SAID_BY_DCP)


_quiet = HeldSetting(
    lambda: _is_news in logging.root.filters,
    lambda on: logging.root.addFilter(_is_news) if on else logging.root.removeFilter(_is_news),
    True,
)
"""Keeps DCP from logging, in a `with` block of this, each metadata file that it doesn't find or that is refused: the
error that comes of it is raised."""


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextmanager
def raising(kind: type[DcpxError], alone: bool, arrival: Arrival | None = None) -> Iterator[None]:
    """DCP wraps every rank's error in a CheckpointException, which isn't even an Exception: raise the first cause, and
    name its rank unless this one is `alone`. Where it waited for ranks that never came, `arrival` names them."""
    try:
        yield
    except CheckpointException as error:
        rank = min(error.failures)
        cause = error.failures[rank][0]
        if not isinstance(cause, Exception):
            raise cause from error
        if not isinstance(cause, DcpxError):
            cause = kind(f"{type(cause).__name__}: {cause}")
        located = cause.located(rank=None if alone else rank)
        raise located.with_others(len(error.failures) - 1, "rank failed", "ranks failed") from error
    except DcpxError:
        raise
    except Exception as error:
        # A collective that another rank's end broke, as torch says it; else this rank's own error, or a planner's.
        broken = isinstance(error, (RuntimeError, TimeoutError))
        absent = arrival.absent() if arrival is not None and broken else []
        raise kind(f"{_waited_for(absent)}{type(error).__name__}: {error}", remedy=_SEEK if absent else None) from error


_SEEK = "See what keeps them: their own output, and whether they still run"
_NAMED = 8
"""Ranks that an error names, of those that never came."""


def _waited_for(absent: Sequence[int]) -> str:
    if not absent:
        return ""
    more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
    numbers = ", ".join(map(str, absent[:_NAMED]))
    return f"{'rank' if len(absent) == 1 else 'ranks'} {numbers}{more} never came: "
