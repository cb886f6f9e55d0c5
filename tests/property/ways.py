"""Ways to save a state and to load it: planners, extensions, DCP's own functions or dcpx's."""

from __future__ import annotations

import contextlib
import inspect
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from hypothesis import strategies as st
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

import dcpx
from dcpx.dcp.private import HAS_RANK_LOCAL, collectives

from ..conftest import PlugIn
from .states import BLANK, State, leaves, unfolded
from .tensor_kinds import is_freed

__all__ = [
    "PACKS",
    "PLANNERS",
    "Way",
    "forget_plans",
    "load",
    "load_anew",
    "outcome",
    "save",
    "stock_load",
    "stock_save",
    "ways",
]


# --- extensions -------------------------------------------------------------------------------------------------------


def _by_kind(item: dcpx.extension.Item) -> str | None:
    """A policy that knows tensors from objects, and one name."""
    if item.fqn == "weight":
        return "zstd"
    return None if item.dtype is None else "small" if item.dtype.startswith("float") else "raw"


PACKS: dict[str, Callable[[PlugIn], dcpx.StreamTransformExtension | None]] = {
    "Pack()": lambda plug_in: dcpx.Pack(),
    "Pack(level='small')": lambda plug_in: dcpx.Pack(level="small"),
    "Pack('zstd')": lambda plug_in: dcpx.Pack("zstd"),
    "Pack('planes', level='small')": lambda plug_in: dcpx.Pack("planes", level="small"),
    "Pack('raw')": lambda plug_in: dcpx.Pack("raw"),
    "Pack(policy=...)": lambda plug_in: dcpx.Pack(policy=_by_kind),
    "Pack(chunk_size=4096)": lambda plug_in: dcpx.Pack(chunk_size=4096),
    "None": lambda plug_in: None,
    "ZStandard()": lambda plug_in: dcpx.ZStandard(),
    "Chain(Pack(), ZStandard())": lambda plug_in: dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()),
    "Chain(ZStandard(), Pack())": lambda plug_in: dcpx.Chain(dcpx.ZStandard(), dcpx.Pack()),
    "Rot13()": lambda plug_in: plug_in.rot13(),
    "Xor()": lambda plug_in: plug_in.xor(),
    "Crc32()": lambda plug_in: plug_in.crc32(),
    "Chain(Rot13(), Pack(), Crc32())": lambda plug_in: dcpx.Chain(plug_in.rot13(), dcpx.Pack(), plug_in.crc32()),
}


# --- planners ---------------------------------------------------------------------------------------------------------


class Renaming(DefaultSavePlanner):
    """Puts all names under another, as in torch's documentation."""

    def set_up_planner(self, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().set_up_planner({"ckpt": state_dict}, *args, **kwargs)


class Halving(DefaultSavePlanner):
    """Stores floats as float16, as in torch's documentation."""

    def create_local_plan(self) -> SavePlan:
        plan = super().create_local_plan()
        for item in plan.items:
            if item.tensor_data is not None and _halved(self.lookup_object(item.index)):
                item.tensor_data.properties.dtype = torch.float16
        return plan

    def transform_object(self, write_item: WriteItem, object: Any) -> Any:
        return object.half() if _halved(object) else super().transform_object(write_item, object)


def _halved(value: Any) -> bool:
    floats = (torch.float32, torch.float64, torch.bfloat16)
    plain = type(value) is torch.Tensor and value.layout is torch.strided and not is_freed(value)
    return plain and value.dtype in floats


def _half(state: dict[Any, Any]) -> dict[Any, Any]:
    state = unfolded(state)
    for leaf in list(leaves(state)):
        if _halved(leaf.value):
            container: Any = state
            for key in leaf.path[:-1]:
                container = container[key]
            container[leaf.path[-1]] = leaf.value.half()
    return state


def _as_it_is(state: dict[Any, Any]) -> dict[Any, Any]:
    return state


class Planner(NamedTuple):
    """A planner for saving, what it makes of a state (and of a target for it), and whether it flattens it."""

    make: Callable[[], SavePlanner | None]
    seen: Callable[[dict[Any, Any]], dict[Any, Any]] = _as_it_is
    flat: bool = True
    before: str | None = None  # what has saved the same state before: DCP keeps plans for the next one

    def load_planner(self) -> DefaultLoadPlanner | None:
        """The planner for loading."""
        return None if self.flat else DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)

    def target(self, state: State) -> dict[Any, Any]:
        """What a user would load the state into."""
        target = state.target()
        if not self.flat:
            made = state.make()
            for key, value in target.items():
                if not isinstance(made[key], torch.Tensor) and unfolded(made)[key] is made[key]:
                    target[key] = BLANK if value is not made[key] else value
        return self.seen(target)


def _caching() -> SavePlanner:
    return DefaultSavePlanner(enable_plan_caching=True)


PLANNERS = {
    "none": Planner(lambda: None),
    "default": Planner(DefaultSavePlanner),
    "to the lowest rank": Planner(lambda: DefaultSavePlanner(dedup_save_to_lowest_rank=True)),
    # With flatten_sharded_tensors DCP rebuilds all containers as plain ones, before dcpx sees them.
    "not flattened": Planner(
        lambda: DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False), flat=False
    ),
    "renaming": Planner(Renaming, lambda state: {"ckpt": unfolded(state)}),
    "halving": Planner(Halving, _half),
}
if "enable_plan_caching" in inspect.signature(DefaultSavePlanner).parameters:  # torch 2.7 and later
    PLANNERS["caching"] = Planner(_caching)
    PLANNERS["caching after dcpx"] = Planner(_caching, before="dcpx")
    PLANNERS["caching after stock DCP"] = Planner(_caching, before="stock")


def forget_plans() -> None:
    """Empty what DCP keeps of plans for the whole process."""
    for name, kept in vars(SavePlanner).items():
        if name.startswith("_cached_") and isinstance(kept, dict):
            kept.clear()


# --- ways -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a state is saved and loaded."""

    pack: str
    planner: str
    with_writer: bool  # dcp.save(storage_writer=dcpx.Writer(...)), not dcpx.save
    one_file: bool
    collectives: bool
    threads: int
    budget: int

    @property
    def plan(self) -> Planner:
        """Its planner."""
        return PLANNERS[self.planner]


ways = st.builds(
    Way,
    pack=st.just("Pack()") | st.sampled_from(list(PACKS)),
    planner=st.just("none") | st.sampled_from(list(PLANNERS)),
    with_writer=st.booleans(),
    one_file=st.booleans(),
    collectives=st.sampled_from([True, True, True, not HAS_RANK_LOCAL]),
    threads=st.integers(0, 4),
    budget=st.sampled_from([256 << 20, 1 << 20, 1000]),
)


class Outcome(NamedTuple):
    """How something ended: the error, if any, what it returned, and dcpx's warnings."""

    error: BaseException | None
    value: Any
    warnings: list[str]
    reached_dcpx: bool = True  # whether dcpx had a part in the error


def outcome(work: Callable[[], Any]) -> Outcome:
    """Run `work`; of what DCP wraps in a CheckpointException the error is the cause."""
    error: BaseException | None = None
    value = None
    files: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = work()
        except CheckpointException as wrapped:
            error, trace = wrapped.failures[min(wrapped.failures)]
            files = [frame.filename for frame in trace]
        except Exception as raised:  # noqa: BLE001 (whichever it is, the test judges)
            error = raised
            files = [frame.filename for frame in traceback.extract_tb(raised.__traceback__)]
    said = [str(one.message) for one in caught if issubclass(one.category, dcpx.DcpxWarning)]
    return Outcome(error, value, said, error is None or any("/dcpx/" in file for file in files))


def save(state: dict[Any, Any], path: Path, way: Way, plug_in: PlugIn, **options: Any) -> Outcome:
    """Save a state this way, after another one if the way says so."""
    pack, plan = PACKS[way.pack](plug_in), way.plan
    forget_plans()
    if plan.before is not None:
        earlier = path.with_name("earlier")
        with contextlib.suppress(Exception, CheckpointException):
            if plan.before == "stock":
                stock_save(state, earlier, way)
            else:
                dcpx.save(state, earlier, planner=plan.make())

    def work() -> None:
        common: dict[str, Any] = {"planner": plan.make(), **collectives(way.collectives)}
        given = {"pack": pack, "threads": way.threads, "budget": way.budget, **options}
        if way.with_writer:
            writer = dcpx.Writer(path, single_file_per_rank=way.one_file, sync_files=False, **given)
            dcp.save(state, storage_writer=writer, **common)
        else:
            dcpx.save(state, path, sync=False, **given, **common)

    return outcome(work)


def load(target: dict[Any, Any], path: Path, way: Way, **options: Any) -> Outcome:
    """Load into a target, the errors of single items in the value with `partial=True`."""
    given = {"threads": way.threads, "budget": way.budget, "rank_local": not way.collectives, **options}
    planner = way.plan.load_planner()

    def work() -> Any:
        if not way.with_writer:
            return dcpx.load(target, path, planner=planner, **given)
        reader = dcpx.Reader(path, **given)
        dcp.load(target, storage_reader=reader, planner=planner)
        return reader.failures

    return outcome(work)


def load_anew(target: dict[Any, Any], path: Path, way: Way) -> Outcome:
    """Load without a target, as DCP does for its converters: what is loaded goes to an empty dictionary."""
    reader = dcpx.Reader(path, threads=way.threads, partial=True, rank_local=not way.collectives)

    def work() -> Any:
        _load_state_dict(target, storage_reader=reader, planner=_EmptyStateDictLoadPlanner(), no_dist=True)
        return reader.failures

    return outcome(work)


def stock_save(state: dict[Any, Any], path: Path, way: Way) -> Outcome:
    """Save with DCP alone."""
    if any(_has_no_memory(leaf.value) for leaf in leaves(unfolded(state))):
        return Outcome(MemoryError("stock DCP reads freed memory, and crashes"), None, [])
    return outcome(lambda: dcp.save(state, storage_writer=FileSystemWriter(path), planner=way.plan.make()))


def _has_no_memory(value: Any) -> bool:
    return type(value) is torch.Tensor and is_freed(value)


def stock_load(target: dict[Any, Any], path: Path, way: Way) -> Outcome:
    """Load with DCP alone, which knows dcpx's extensions."""
    registry: Any = dcpx.default_registry()
    reader = FileSystemReader(path, _extension_registry=registry)
    return outcome(lambda: dcp.load(target, storage_reader=reader, planner=way.plan.load_planner()))
