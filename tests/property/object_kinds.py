"""Objects of every kind that people have put into checkpoints beside their tensors."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import io
import ipaddress
import os
import pathlib
import random
import re
import time
import types
import typing
import uuid
import warnings
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

__all__ = ["KINDS", "LOADED", "NUMPY", "TORCH", "objects"]


# --- what users define ------------------------------------------------------------------------------------------------


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Settings:
    rate: Any = 0.1
    steps: Any = ()


@dataclasses.dataclass(frozen=True)
class FrozenSettings:
    rate: Any = 0.1


class Colour(enum.Enum):
    RED = "red"


class Order(enum.IntEnum):
    FIRST = 1


class Flags(enum.Flag):
    READ = 1
    WRITE = 2


class Word(str, enum.Enum):
    YES = "yes"


class Tracker:
    """With a state of its own, as a data loader's position."""

    def __init__(self, seen: Any) -> None:
        self.seen = seen

    class Inner:
        """A class within a class."""


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class MyList(list[Any]):
    pass


class MyDict(dict[Any, Any]):
    pass


class MyInt(int):
    pass


class MyText(str):
    pass


class MyError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")


# --- what they are made of --------------------------------------------------------------------------------------------

integers = st.integers() | st.sampled_from([0, 1, 255, 256, 1 << 31, 1 << 63, 1 << 64, -(1 << 63) - 1])
texts = st.text(max_size=8) | st.sampled_from(["", "\0", "é", "\N{SNOWMAN}"])
atoms = st.none() | st.booleans() | integers | st.floats() | texts | st.binary(max_size=8)
hashable = st.booleans() | integers | texts | st.binary(max_size=4) | st.tuples(st.integers(), st.none())
small = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hashable, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=4,
)

_ARRAYS: dict[str, Callable[[], Any]] = {
    "float64": lambda: np.arange(5.0),
    "no dimension": lambda: np.array(5.0),
    "empty": lambda: np.zeros((0, 3)),
    "text": lambda: np.array(["a", "bb"]),
    "bytes": lambda: np.array([b"a", b"bb"]),
    "Fortran order": lambda: np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": lambda: np.arange(3, dtype=">i4"),
    "float16": lambda: np.arange(3, dtype=np.float16),
    "times": lambda: np.array(["2020", "NaT"], dtype="M8[s]"),
    "durations": lambda: np.array([1, 2], dtype="m8[25us]"),
    "bool": lambda: np.array([True, False]),
    "complex": lambda: np.array([1j, complex("nan")], dtype=np.complex64),
    "steps": lambda: np.ones((4, 6))[::2, 1::2],
    "turned": lambda: np.arange(6)[::-1],
    "repeated": lambda: np.broadcast_to(np.float32(3), (1000, 10)),
    "zeros": lambda: np.zeros(3 << 20),
}
_ODD_ARRAYS: dict[str, Callable[[], Any]] = {
    "structured": lambda: np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
    "structured and aligned": lambda: np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8", (2,))], align=True)),
    "objects": lambda: np.array([1, "a", None], dtype=object),
    "masked": lambda: np.ma.array([1, 2], mask=[0, 1]),
    "matrix": lambda: np.matrix([[1]]),
    "records": lambda: np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "longdouble": lambda: np.array([1, 2], dtype=np.longdouble),
}


def _model() -> torch.nn.Module:
    return torch.nn.Linear(3, 2)


def _optimizer(seed: int) -> torch.optim.Optimizer:
    torch.manual_seed(seed)
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer


_SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "lambda": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
    "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
    "plateau": torch.optim.lr_scheduler.ReduceLROnPlateau,
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, 10),
    "several steps": lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5]),
    "cyclic": lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-4, 1e-3, cycle_momentum=False),
    "one after another": lambda optimizer: torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [torch.optim.lr_scheduler.ConstantLR(optimizer), torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)],
        [2],
    ),
}


def _scheduler(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step of the optimizer before one of the scheduler
        return _SCHEDULERS[name](_optimizer(0)).state_dict()


def _deep(levels: int) -> Any:
    nested: Any = 0
    for _ in range(levels):
        nested = [nested]
    return nested


def _endless() -> tuple[Any]:
    itself: list[Any] = [1]
    itself.append(itself)
    return (itself,)


def _twice(value: Any) -> Any:
    return (value, [value, {"again": value}])


def _once(moment: Any) -> Any:
    """Not the second of two that a clock shows alike: the pickles that torch.save writes can't say that."""
    return moment.replace(fold=0)


def one(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


# --- the kinds --------------------------------------------------------------------------------------------------------

zones = one(datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=2)), zoneinfo.ZoneInfo("UTC"))

LOADED: dict[str, st.SearchStrategy[Any]] = {
    "number": st.booleans() | integers | st.floats() | st.complex_numbers(),
    "large integer": st.sampled_from([1, -1]).flatmap(lambda sign: st.integers(200, 14_000).map(lambda n: sign << n)),
    "text": texts | one("\ud800x") | st.just(70_000).map(lambda size: "a" * size),
    "bytes": st.binary(max_size=300) | st.just(1 << 20).map(bytes),
    "bytearray": st.binary(max_size=9).map(bytearray),
    "None": st.none(),
    "ellipsis": one(...),
    "list": st.lists(small, max_size=4),
    "tuple": st.tuples(small, small) | one(()),
    "dict": st.dictionaries(hashable, small, max_size=4).map(lambda made: (made,)),
    "set": st.sets(hashable, max_size=4) | st.frozensets(hashable, max_size=4),
    "ordered": st.dictionaries(texts, small, max_size=3).map(lambda made: (collections.OrderedDict(made),)),
    "defaultdict": one(int, list, None).flatmap(
        lambda factory: st.just((collections.defaultdict(factory, {"a": factory() if factory else 1}),))
    ),
    "counter": st.lists(hashable, max_size=5).map(lambda seen: (collections.Counter(seen),)),
    "deque": st.builds(collections.deque, st.lists(small, max_size=3), st.none() | st.integers(3, 9)),
    "chain map": st.dictionaries(texts, small, max_size=2).map(lambda made: (collections.ChainMap(made, {"z": 1}),)),
    "what is shared": small.map(_twice) | one(_twice([1])),
    "what holds itself": st.builds(_endless),
    "what nests": st.integers(1, 60).map(_deep),
    "date": st.dates() | st.timedeltas() | (st.times() | st.datetimes()).map(_once),
    "time in a zone": zones | (st.datetimes(timezones=zones) | st.times(timezones=zones)).map(_once),
    "path": one(pathlib.PurePosixPath("a/b"), pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:/a")),
    "decimal": st.decimals(),
    "fraction": st.fractions(),
    "uuid": st.uuids(),
    "range": st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    "slice": st.builds(slice, st.none() | st.integers(), st.integers()),
    "array": one(array.array("d", [1.0, -0.0]), array.array("B"), array.array("q", [1, -1])),
    "namespace": small.map(lambda value: types.SimpleNamespace(a=value)),
    "arguments": small.map(lambda value: argparse.Namespace(rate=value)),
    "address": st.ip_addresses() | one(ipaddress.ip_network("10.0.0.0/8")),
    "stream": st.binary(max_size=9).map(io.BytesIO),
    "random.getstate": st.integers(0, 9).map(lambda seed: random.Random(seed).getstate()),
}
"""Values of the standard library that can run nothing: they load by default."""

NUMPY: dict[str, st.SearchStrategy[Any]] = {
    "array": st.sampled_from(sorted(_ARRAYS)).map(lambda name: _ARRAYS[name]()),
    "scalar": one(
        *(np.float32(1.5), np.int64(5), np.bool_(True), np.str_("a"), np.bytes_(b"a"), np.complex64(1j)),
        *(np.datetime64("2020-01-01"), np.timedelta64(1, "D"), np.float64("nan"), np.uint8(1)),
    ),
    "dtype": one(np.dtype("f4"), np.dtype(">u2"), np.dtype("M8[us]"), np.dtype("U5")),
    "state": one(
        np.random.RandomState(0).get_state(),
        (np.random.default_rng(0).bit_generator.state,),
        (np.random.MT19937(1).state,),
    ),
    "shared array": st.builds(lambda: _twice(np.ones(3))),
}
TORCH: dict[str, st.SearchStrategy[Any]] = {
    "constant": one(torch.float32, torch.device("cpu"), torch.Size([1, 2]), torch.strided, torch.qint8),
    "version": one(torch.__version__, {"versions": [torch.__version__]}),
    "tensor within": st.builds(lambda: (1, torch.ones(3), {"a": torch.zeros(2, dtype=torch.bfloat16)})),
    "parameter within": st.builds(lambda: (torch.nn.Parameter(torch.ones(3)),)),
    "shared tensor": st.builds(lambda: _twice(torch.arange(4))),
    "views of one storage": st.builds(lambda: (lambda base: (base, base[2:4]))(torch.arange(9.0))),
    "generator's state": st.integers(0, 9).map(lambda seed: (torch.Generator().manual_seed(seed).get_state(),)),
    "optimizer's state": st.integers(0, 9).map(lambda seed: (_optimizer(seed).state_dict(),)),
    "scheduler's state": st.sampled_from(sorted(set(_SCHEDULERS) - {"several steps"})).map(lambda n: (_scheduler(n),)),
    "scaler's state": st.builds(lambda: (torch.amp.GradScaler("cpu").state_dict(),)),
    "sparse within": st.builds(lambda: (torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr())),
}
"""What torch and NumPy hold data in: it loads by default as well."""

OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "namedtuple": st.builds(Point, small, small),
    "dataclass": st.builds(Settings, small, small) | st.builds(FrozenSettings, small),
    "enum": one(Colour.RED, Order.FIRST, Word.YES, Flags.READ | Flags.WRITE, re.I),
    "user's": st.builds(Tracker, small) | st.builds(Slotted, small) | st.builds(Tracker.Inner),
    "user's container": st.builds(MyList, st.lists(small, max_size=2)) | one(MyText("a"), MyInt(7), (MyDict(a=1),)),
    "user's tree": small.map(lambda value: Tracker([Point(value, Settings(Tracker(value)))])),
    "scheduler with integer keys": st.builds(_scheduler, st.just("several steps")),
    "counter of a state": st.lists(texts, min_size=1, max_size=5).map(collections.Counter),
    "ordered state": st.dictionaries(texts, atoms, min_size=1, max_size=3).map(collections.OrderedDict),
    "chain of states": st.dictionaries(texts, atoms, min_size=1, max_size=2).map(collections.ChainMap),
    "defaults of a state": st.dictionaries(texts, atoms, max_size=2).map(lambda d: collections.defaultdict(int, d)),
    "user's dictionary": st.dictionaries(texts, atoms, min_size=1, max_size=2).map(MyDict),
    "user dict": st.dictionaries(texts, atoms, min_size=1, max_size=2).map(collections.UserDict),
    "function": one(len, os.path.join, torch.nn.functional.gelu),
    "class": one(int, Tracker, np.float32, collections.OrderedDict, type(None), list[int], typing.Optional[int]),  # noqa: UP045
    "partial": st.builds(functools.partial, st.just(int), base=st.integers(2, 9)),
    "not to be pickled": one(lambda value: value, memoryview(b"abc"), types, iter(()), (n for n in ()), open),
    "regular expression": one(re.compile("a+"), re.compile(b"(?i)x")),
    "structure": one(time.gmtime(0), os.stat("/")),
    "exception": one(ValueError("x"), MyError(3), KeyboardInterrupt()),
    "constant": one(NotImplemented, torch.channels_last, torch.finfo(torch.float32)),
    "generator": st.builds(torch.Generator) | st.builds(random.Random, st.integers(0, 9)),
    "numpy generator": st.integers(0, 9).map(np.random.default_rng) | st.integers(0, 9).map(np.random.RandomState),
    "odd array": st.sampled_from(sorted(_ODD_ARRAYS)).map(lambda name: _ODD_ARRAYS[name]()),
    "odd scalar": one(np.void(b"abc"), np.longdouble(1.5)),
    "module within": st.builds(lambda: (_model(),)),
    "optimizer within": st.builds(lambda: (_optimizer(0),)),
    "storage": st.builds(lambda: torch.ones(3).storage()),
    "tensor in a set": st.builds(lambda: {torch.ones(2)}),
    "what nests deep": st.sampled_from([400, 20_000]).map(lambda levels: (_deep(levels),)),
    "many keys of one hash": st.builds(lambda: ({number * ((1 << 61) - 1) for number in range(300)},)),
    "uuid of a subclass": st.builds(lambda: uuid.SafeUUID.unknown),
    "decimal's context": st.builds(decimal.Context),
}
"""What may name a user's class, run code or be no value at all: refused, or said when it is saved, or loaded.

Not drawn are read-only mappings, which DCP takes apart, and into which nothing can be put back, and storages without a
dtype, of which torch.load makes some with one.
"""

KINDS = {
    **{f"standard: {name}": kind for name, kind in LOADED.items()},
    **{f"numpy: {name}": kind for name, kind in NUMPY.items()},
    **{f"torch: {name}": kind for name, kind in TORCH.items()},
    **{f"other: {name}": kind for name, kind in OTHERS.items()},
}


class Drawn(NamedTuple):
    """An object that was drawn, and the name of its kind."""

    kind: str
    value: Any

    @property
    def plain(self) -> bool:
        """Whether it must load by default."""
        return not self.kind.startswith("other: ")


objects = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: KINDS[kind].map(lambda value: Drawn(kind, value)))
