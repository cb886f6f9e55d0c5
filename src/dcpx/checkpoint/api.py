"""`dcpx.save` and `dcpx.load`: DCP's own functions with dcpx's storage, and with errors that Python code can catch."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from ..errors import DcpxError, LoadError, SaveError
from ..extension import StreamTransformExtension
from ..extensions.pack import Pack
from ..parallel import DEFAULT_BUDGET
from ..progress import OnProgress, progress_bar
from .collector import paused_collector
from .limits import Limits
from .objects import SafeGlobal
from .protection import Require
from .reader import Reader
from .storable import name_unstorable
from .writer import Writer

__all__ = ["load", "save"]


def save(
    state_dict: dict[str, Any],
    path: str | os.PathLike[str],
    *,
    pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
    overwrite: bool = False,
    user: Mapping[str, Any] | None = None,
    sync: bool = True,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    progress: bool | OnProgress = False,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    use_collectives: bool = True,
) -> Metadata:
    """Save `state_dict` as a checkpoint in the directory `path`; every rank calls it, as with `dcp.save`.

    `pack` is how items are stored (see `Pack`), `overwrite` allows replacing an existing checkpoint, `user` is put into
    the manifest, `sync` fsyncs the files. `threads` encode, by default as many as there are cores, and hold about
    `budget` bytes. `progress` is True for a bar in the terminal (needs rich), or a function that is called with a
    `Progress`. `use_collectives=False` gives each rank a checkpoint of its own in the directory, for `load` with
    `rank_local=True`. Returns DCP's metadata.

    Raises SaveError, or another DcpxError that says more, on every rank; then nothing was published, and the checkpoint
    that was to be replaced is as it was. Without collectives that holds for the rank that failed; the others return.
    """
    with paused_collector, _shown(progress, f"saving {os.fspath(path)}") as tell:
        writer = Writer(
            path,
            pack=pack,
            overwrite=overwrite,
            user=user,
            sync_files=sync,
            threads=threads,
            budget=budget,
            progress=tell,
        )
        with _raising(SaveError):
            try:
                metadata: Metadata = dcp_save(
                    state_dict,
                    storage_writer=writer,
                    planner=planner,
                    process_group=process_group,
                    use_collectives=use_collectives,
                )
            except BaseException as error:
                writer.discard()
                if isinstance(error, CheckpointException) and not _told(error):
                    name_unstorable(state_dict)
                if isinstance(error, Exception) and not (use_collectives or writer.committed):
                    _join_barrier(process_group)
                raise
        return metadata


def load(
    state_dict: dict[str, Any],
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    progress: bool | OnProgress = False,
    safe_globals: Sequence[SafeGlobal] = (),
    trust: bool = False,
    require: Require | None = None,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    partial: bool = False,
    rank_local: bool = False,
    planner: LoadPlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
) -> dict[str, DcpxError]:
    """Load a checkpoint into `state_dict` in place; every rank calls it, as with `dcp.load`, resharding as DCP does.

    Reads what dcpx or stock DCP wrote; `threads`, `budget` and `progress` are those of `save`. Nothing in the
    checkpoint is run: what objects may be made of is said at `Reader`, with `safe_globals`, `trust`, what `require` and
    `limits` refuse, and `rank_local`.
    Raises LoadError, CorruptError or another DcpxError; the state may be partly filled then.

    With `partial` everything that is whole is loaded, and this rank's items that aren't are returned by name, with
    their errors; their targets may be partly filled. Without, what is returned is empty.
    """
    with paused_collector, _shown(progress, f"loading {os.fspath(path)}") as tell:
        reader = Reader(
            path,
            threads=threads,
            budget=budget,
            progress=tell,
            safe_globals=safe_globals,
            trust=trust,
            require=require,
            limits=limits,
            partial=partial,
            rank_local=rank_local,
        )
        try:
            with _raising(LoadError), _quiet():
                dcp_load(state_dict, storage_reader=reader, planner=planner, process_group=process_group)
        except LoadError as error:
            raise reader.metadata_error or error from None
    return reader.failures


def _told(error: CheckpointException) -> bool:
    """Whether a rank's error is one of dcpx's, which says what it is about."""
    return any(isinstance(cause, DcpxError) for cause, _ in error.failures.values())


def _join_barrier(process_group: dist.ProcessGroup | None) -> None:
    """Without collectives DCP ends a save with a barrier: the other ranks wait there for this one, which has failed."""
    if dist.is_available() and dist.is_initialized():
        with suppress(RuntimeError):  # another rank is lost; why this one failed is what matters here
            dist.barrier(process_group)


@contextmanager
def _shown(progress: bool | OnProgress, label: str) -> Iterator[OnProgress | None]:
    """What is told of the progress: the caller's function, a bar on rank 0, or nobody."""
    if progress is False or (progress is True and _rank() != 0):
        yield None
    elif progress is True:
        with progress_bar(label) as show:
            yield show
    else:
        yield progress


_SAID_BY_DCP = ("Global metadata is not found", "Rank local metadata is not found")


@contextmanager
def _quiet() -> Iterator[None]:
    """DCP logs each metadata file that it doesn't find or that is refused, with a traceback, by the root logger; the
    error that comes of it is raised."""

    def heard(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_SAID_BY_DCP)

    logging.root.addFilter(heard)
    try:
        yield
    finally:
        logging.root.removeFilter(heard)


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextmanager
def _raising(kind: type[DcpxError]) -> Iterator[None]:
    """DCP wraps every rank's error in a CheckpointException, which isn't even an Exception: raise the first cause."""
    try:
        yield
    except CheckpointException as error:
        rank = min(error.failures)
        cause = error.failures[rank][0]
        alone = not (dist.is_available() and dist.is_initialized())
        if not isinstance(cause, Exception):
            raise cause from error
        if not isinstance(cause, DcpxError):
            cause = kind(f"{type(cause).__name__}: {cause}")
        located = cause.located(rank=None if alone else rank)
        raise located.with_others(len(error.failures) - 1, "rank failed", "ranks failed") from error
    except DcpxError:
        raise
    except Exception as error:
        # A collective that another rank's end broke; without collectives, also an error of the planner.
        raise kind(f"{type(error).__name__}: {error}") from error
