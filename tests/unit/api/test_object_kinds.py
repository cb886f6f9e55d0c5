"""Every kind of object: it loads by default, or the save says that it won't, and what then helps.

Long, because the kinds are one table that every test goes through.
"""

from __future__ import annotations

import argparse
import array
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import http
import io
import ipaddress
import operator
import os
import pathlib
import random
import re
import signal
import sys
import time
import types
import typing
import uuid
import warnings
import zoneinfo
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.tensor import Partial, Replicate, Shard

import dcpx
from dcpx import DcpxError, SaveError, UnsupportedError
from dcpx.errors import DcpxWarning
from dcpx.loading.objects import checked_bytes
from dcpx.pickles.trust import SafeGlobal
from tests.support.warned import warned

# --- a user's classes -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Data:
    number: int = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int = 1


@dataclasses.dataclass
class Slots:
    __slots__ = ("number",)
    number: int


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 1


class Mode(str, enum.Enum):
    TRAIN = "train"


class Options(enum.Flag):
    FAST = 1
    SMALL = 2


class ByName(enum.Enum):
    """Pickled by its name, as an attribute."""

    FIRST = object()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (type(self), self.name)


Pair = collections.namedtuple("Pair", "left right")


class Typed(typing.NamedTuple):
    left: int


class Words(list[str]):
    pass


class Sizes(dict[str, int]):
    pass


class Names(set[str]):
    pass


class Tally(collections.Counter[str]):
    pass


class Ordered(collections.OrderedDict[str, int]):
    pass


class Queue(collections.deque[int]):
    pass


class Ratio(fractions.Fraction):
    pass


class Number(int):
    pass


class Outer:
    class Inner:
        def __init__(self) -> None:
            self.number = 1

        def __eq__(self, other: object) -> bool:
            return type(other) is Outer.Inner and vars(other) == vars(self)


class Reduced:
    """Made by a call, and given a state."""

    def __init__(self, number: int) -> None:
        self.number, self.more = number, 0

    def __reduce__(self) -> Any:
        return Reduced, (self.number,), {"more": self.more}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.more = state["more"]

    def __eq__(self, other: object) -> bool:
        return type(other) is Reduced and vars(other) == vars(self)


class WithArray:
    """Looks at what it holds while it is made."""

    def __init__(self) -> None:
        self.array = np.ones(3)

    def __setstate__(self, state: dict[str, Any]) -> None:
        assert state["array"].shape == (3,)
        vars(self).update(state)

    def __eq__(self, other: object) -> bool:
        return type(other) is WithArray and np.array_equal(self.array, other.array)


# --- the kinds --------------------------------------------------------------------------------------------------------

UTC = datetime.timezone.utc
SHARED = torch.ones(3)
STREAM = io.StringIO("äbc")
STREAM.seek(1)


def moved(generator: Any) -> Any:
    generator.random(3)
    return generator


PLAIN: dict[str, Any] = {
    "big integers": [2**2040, 2**5000, -(2**9000), 2**31, -(2**63)],
    "many numbers": [*range(70_000), *(0.5 * n for n in range(3000)), *range(1 << 30, (1 << 30) + 3000), -1],
    "mixed numbers": [n * n * (-1) ** n if n % 3 else n / 7 for n in range(5000)],
    "nothing and all": [None, True, False, ..., NotImplemented, 1.5, -0.0, 1j, "é\ud800", b"\0\xff", bytearray(b"1")],
    "long texts": ["a" * 100_000, "ä" * 100_000, "\N{SNOWMAN}" * 100_000, bytes(range(256)) * 1000],
    "classes": [int, str, type(None), type(...), type(NotImplemented), np.float32, ValueError, np.ndarray],
    "ranges": [range(5), range(10, 0, -3), range(10**30), slice(1, 2), slice(None)],
    "decimals": [decimal.Decimal(text) for text in ("1.1", "-0", "1E+999999", "-Infinity", "1" * 500)],
    "fractions": [fractions.Fraction(1, 3), fractions.Fraction(-(2**500), 3)],
    "UUIDs": {uuid.UUID(int=5): uuid.uuid4(), "one": uuid.uuid1()},
    "deques": [collections.deque([1, 2]), collections.deque([1], maxlen=3), collections.deque(range(3000), 2000)],
    "counted": [collections.Counter("abca"), collections.OrderedDict(b=1, a=2)],
    "defaults": [collections.defaultdict(kind, {"a": kind()}) for kind in (int, list, set, dict, str)],
    "no default": collections.defaultdict(None, {"a": 1}),
    "chained": collections.ChainMap({"a": 1}, {"b": 2}),
    "user containers": [collections.UserDict(a=1), collections.UserList([1]), collections.UserString("a")],
    "namespaces": [types.SimpleNamespace(a=[1]), argparse.Namespace(lr=0.1, name="x")],
    "dates": [datetime.date(2020, 1, 2), datetime.time(1, 2, tzinfo=UTC), datetime.timedelta(1, 2, 3)],
    "zones": [
        datetime.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
        datetime.datetime(2020, 1, 2, tzinfo=UTC),
        datetime.timezone(datetime.timedelta(hours=2), "two"),
    ],
    "times": [time.gmtime(0), time.localtime(1e9)],
    "a file's state": os.stat("/"),
    "addresses": [
        ipaddress.ip_address("1.2.3.4"),
        ipaddress.ip_address("fe80::1%eth0" if sys.version_info >= (3, 11) else "fe80::1"),  # 3.10 doesn't pickle it
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_interface("::1/64"),
    ],
    "paths": [pathlib.Path("/a/b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("C:/a")],
    "arrays": [array.array("d", [1.0]), array.array("q", [-(2**63)]), array.array("B", b"ab"), array.array("u", "ä")],
    "streams": [io.BytesIO(b"abc"), STREAM],
    "errors": [ValueError("x"), FileNotFoundError(2, "x"), KeyError("a")],
    "structured arrays": [
        np.zeros(2, dtype=[("a", "i4"), ("b", ">f8")]),
        np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.zeros((2, 1), dtype=[("a", "i4", (2, 3)), ("b", [("c", "U3"), ("d", "M8[s]")])]),
        np.zeros(1, dtype=[("a", "f4")])[0],
        np.void(b"abc"),
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
    "other arrays": [
        np.array([1, "a", None, {2}], dtype=object),
        np.matrix([[1, 2]]),
        np.ma.array([1, 2], mask=[0, 1], fill_value=7),
        np.array(["2020", "NaT"], dtype="M8[25s]"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.longdouble(1.5),
        np.zeros((0, 3)),
        np.dtype([("a", "i4")]),
    ],
    "scalars as keys": {np.int64(n): np.float32(n) for n in range(300)},
    "NumPy's generators": [
        moved(np.random.Generator(kind(1)))
        for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
    ],
    "NumPy's older generator": moved(np.random.RandomState(0)),
    "generators' states": [np.random.MT19937(1).state, np.random.default_rng(0).bit_generator.state],
    "seeds": [np.random.SeedSequence(5), *np.random.SeedSequence(2**200).spawn(1)],
    "random states": [random.Random(0).getstate(), torch.get_rng_state()],
    "torch's own": [torch.float32, torch.device("cpu"), torch.Size([1, 2]), torch.strided, torch.per_tensor_affine],
    "tensors": (SHARED, [SHARED[1:]], torch.nn.Parameter(torch.ones(2)), {"s": torch.eye(2).to_sparse()}),
}
"""What loads by default."""

ALLOWED: dict[str, tuple[Any, list[SafeGlobal]]] = {
    "dataclass": (Data(2), [Data]),
    "frozen dataclass": ({Frozen(2): 1}, [Frozen]),
    "dataclass with slots": (Slots(3), [Slots]),
    "enumerations": ([Color.RED, Level.HIGH, Mode.TRAIN], [Color, Level, Mode]),
    "flags": ([Options.FAST | Options.SMALL, Options.FAST], [Options, operator.or_]),
    "enumeration by name": ([ByName.FIRST], [ByName]),
    "enumerations of the library": (
        # Python 3.10 pickles those that a module has made of numbers by a name of their own.
        [http.HTTPStatus.OK, *([signal.SIGINT, re.I] if sys.version_info >= (3, 11) else [])],
        [http.HTTPStatus, signal.Signals, re.RegexFlag],
    ),
    "named tuples": ([Pair(1, [2]), Typed(3)], [Pair, Typed]),
    "lists": (Words(["a", "b"] * 700), [Words]),
    "dictionaries": (Sizes(a=1, b=2), [Sizes]),
    "sets": (Names({"a", "b"}), [Names]),
    "counters": (Tally("aab"), [Tally]),
    "ordered": (Ordered(b=1, a=2), [Ordered]),
    "deques": (Queue([1, 2], 5), [Queue]),
    "fractions": (Ratio(1, 3), [Ratio]),
    "numbers": (Number(3), [Number]),
    "nested class": ([Outer.Inner(), Outer.Inner()], [Outer.Inner]),
    "calls": (Reduced(3), [Reduced]),
    "arrays within": (WithArray(), [WithArray]),
    "partial": (functools.partial(int, base=2), [functools.partial]),
    "pattern": (re.compile("a+"), [re._compile]),  # type: ignore[attr-defined]
    "a class itself": (Data, [Data]),
    "functions": ([os.path.join, len], [os.path.join, len]),
    "default of a user's": (collections.defaultdict(Data, a=Data(3)), [Data]),
    "type hints": (list[int], [types.GenericAlias]),
}
"""What loads with `safe_globals`."""

TRUSTED: dict[str, Any] = {
    "a function of the system": os.getpid,
    "a module": torch.nn.Linear(2, 2),
    "torch's generator": torch.Generator(),
    "NumPy's texts of any length": np.array(["a"], np.dtypes.StringDType()),
}
"""What loads with `trust=True` only, or not worth to be named part by part."""

NEVER: dict[str, Any] = {
    "lambda": lambda: 1,
    "generator": (n for n in ()),
    "memoryview": memoryview(b"abc"),
    "finfo": torch.finfo(torch.float32),
}
"""What can't be saved."""


def same(found: Any, expected: Any) -> bool:
    if type(found) is not type(expected):
        return False
    match expected:
        case torch.Tensor():
            dense = [one.to_dense() if one.is_sparse else one for one in (found, expected)]
            return found.dtype == expected.dtype and torch.equal(*dense)
        case np.ma.MaskedArray():
            return same(found.data, expected.data) and same(found.mask, expected.mask) and found.fill_value == 7
        case np.ndarray() | np.void():
            return found.dtype == expected.dtype and same(found.tolist(), expected.tolist())
        case np.random.Generator():
            return same(found.bit_generator.state, expected.bit_generator.state)
        case np.random.RandomState():
            return same(found.get_state(), expected.get_state())
        case np.random.SeedSequence():
            return found.state == expected.state
        case collections.deque():
            return list(found) == list(expected) and found.maxlen == expected.maxlen
        case collections.defaultdict():
            return found == expected and found.default_factory is expected.default_factory
        case dict():
            return list(found) == list(expected) and all(map(same, found.values(), expected.values()))
        case list() | tuple():
            return len(found) == len(expected) and all(map(same, found, expected))
        case functools.partial():
            return (found.func, found.args, found.keywords) == (expected.func, expected.args, expected.keywords)
        case io.BytesIO() | io.StringIO():
            return found.getvalue() == expected.getvalue() and found.tell() == expected.tell()
        case BaseException():
            return found.args == expected.args
        case torch.Generator():
            return torch.equal(found.get_state(), expected.get_state())
        case torch.nn.Module():
            return same(found.state_dict(), expected.state_dict())
        case float():
            return repr(found) == repr(expected)
    return bool(found == expected)


@contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DcpxWarning)
        yield


def wrapped(value: Any) -> dict[str, Any]:
    """DCP takes a state's dictionaries and lists apart: in a tuple they are one object."""
    return {"x": (value,)}


def loaded(path: Path, **options: Any) -> Any:
    state: dict[str, Any] = {"x": ()}
    dcpx.load(state, path, **options)
    return state["x"][0]


PACKS = {"pack": dcpx.Pack(), "zstandard": dcpx.ZStandard(), "plain": None}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("name", PLAIN)
def test_what_loads_by_default(name: str, pack: str, tmp_path: Path):
    value = PLAIN[name]
    with silent():
        dcpx.save(wrapped(value), tmp_path, pack=PACKS[pack], strict=True)
    assert same(loaded(tmp_path), value)
    assert same(loaded(tmp_path, safe_globals=[Data]), value)
    assert same(loaded(tmp_path, trust=True), value)


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("name", ALLOWED)
def test_what_loads_with_safe_globals(name: str, pack: str, tmp_path: Path):
    value, allowed = ALLOWED[name]
    refused_when_saving(value, tmp_path, PACKS[pack], [cls for cls in allowed if isinstance(cls, type)][:1])
    assert same(loaded(tmp_path, safe_globals=allowed), value)
    assert same(loaded(tmp_path, trust=True), value)


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("name", TRUSTED)
def test_what_loads_with_trust(name: str, pack: str, tmp_path: Path):
    refused_when_saving(TRUSTED[name], tmp_path, PACKS[pack], [])
    with pytest.raises(UnsupportedError):
        loaded(tmp_path, safe_globals=[os.getpid])
    assert same(loaded(tmp_path, trust=True), TRUSTED[name])


@pytest.mark.parametrize("name", NEVER)
def test_what_cant_be_saved(name: str, tmp_path: Path):
    with pytest.raises(SaveError, match="item 'x'"):
        dcpx.save({"x": NEVER[name]}, tmp_path / "checkpoint")


def refused_when_saving(value: Any, path: Path, pack: Any, classes: Sequence[Any]) -> None:
    """A save says what a load will say, or is refused by `strict`, and a load then says it."""
    with pytest.raises(SaveError) as refused:
        dcpx.save(wrapped(value), path, pack=pack, strict=True)
    assert not list(path.glob(".metadata"))
    (said,) = warned(lambda: dcpx.save(wrapped(value), path, pack=pack))
    with pytest.raises(UnsupportedError) as caught:
        loaded(path)
    for text in (str(refused.value), said):
        assert "'x'" in text
        assert caught.value.cause in text
        assert caught.value.remedy in text
        assert "trust=True" in text
        for cls in classes:
            assert cls.__qualname__ in text


def test_all_that_is_refused_is_said_at_once(tmp_path: Path):
    state = {f"item {number}": (Data(number), Color.RED) for number in range(12)}
    with pytest.raises(SaveError, match=r"(?s)'item 0': .*Data.*'item 1': .*and 2 more"):
        dcpx.save(state, tmp_path, strict=True)
    assert len(warned(lambda: dcpx.save(state, tmp_path))) == 1
    with torch.serialization.safe_globals([Data, Color]), silent():
        dcpx.save(state, tmp_path, overwrite=True, strict=True)


# --- what stays refused -----------------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call, and then given a state."""

    def __init__(self, function: Any, *arguments: object, state: object = None) -> None:
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.made


def forged_generator(kind: Any, **changed: object) -> Any:
    state = kind(1).state
    for key, value in changed.items():
        (state if key in state else state["state"])[key] = value
    ctor, arguments, _ = kind(1).__reduce__()
    return Calls(ctor, *arguments, state=(state, None))


FORGED: dict[str, Any] = {
    "a fraction of many digits": Calls(fractions.Fraction, "1e999999999"),
    "a fraction with a huge divisor": Calls(fractions.Fraction, 3**50_000, 7**50_000),
    "a fraction of nothing": Calls(fractions.Fraction, 1, 0),
    "no decimal": Calls(decimal.Decimal, "x"),
    "a zone outside": Calls(zoneinfo.ZoneInfo._unpickle, "../../etc/passwd", 1),  # type: ignore[attr-defined]
    "an absolute zone": Calls(zoneinfo.ZoneInfo._unpickle, "/etc/passwd", 1),  # type: ignore[attr-defined]
    "a zone by its class": Calls(zoneinfo.ZoneInfo, "UTC"),
    "a function as a default": collections.defaultdict(len, a=1),
    "a long deque": Calls(collections.deque, range(10)),
    "a deque of negative length": Calls(collections.deque, (), -1),
    "an array of many": Calls(array.array, "d", range(10)),
    "a type": Calls(type, "X", (), {}),
    "an attribute of a value": Calls(getattr, "x", "join"),
    "an attribute of a class": Calls(getattr, Data, "__init__"),
    "a reduction": Calls(types.SimpleNamespace, state={"__reduce_ex__": 1}),
    "another class": Calls(argparse.Namespace, state={"__class__": 1}),
    "a reduction of a dictionary": Calls(collections.OrderedDict, state={"__reduce_ex__": 1}),
    "a stream far behind its end": Calls(io.BytesIO, state=(b"a", 1 << 50, None)),
    "a range without a step": Calls(range, 1, 2, 0),
    "a generator beyond its state": forged_generator(np.random.MT19937, pos=1 << 20),
    "a generator beyond its buffer": forged_generator(np.random.Philox, buffer_pos=1 << 20),
    "a generator of a short key": forged_generator(np.random.MT19937, key=np.zeros(3, "u4")),
    "a dtype with wrong flags": Calls(np.dtype, "f8", False, True, state=(3, "<", None, None, None, -1, -1, 63)),
    "a shared dtype": Calls(np.dtype, "f8", False, False, state=(3, ">", None, None, None, -1, -1, 0)),
    "fields beyond the size": Calls(
        np.dtype,
        "V4",
        False,
        True,
        state=(3, "|", None, ("a",), {"a": (np.dtype("f8"), 0)}, 4, 1, 16),
    ),
    "objects that are bytes": Calls(
        *np.ones(1).__reduce__()[:1], *np.ones(1).__reduce__()[1], state=(1, (1,), np.dtype("O"), False, b"\1" * 8)
    ),
    "too few objects": Calls(
        *np.ones(1).__reduce__()[:1], *np.ones(1).__reduce__()[1], state=(1, (9,), np.dtype("O"), False, [1])
    ),
    "a mask of another size": Calls(
        *np.ma.ones(1).__reduce__()[:1],
        *np.ma.ones(1).__reduce__()[1],
        state=(1, (1,), np.dtype("f8"), False, b"\1" * 8, b"\1" * 9, None),
    ),
    "a pattern": re.compile("a"),
    "a UUID by its text": Calls(uuid.UUID, str(uuid.UUID(int=5))),
    **{
        f"a parameter's reduction in a {kind.__name__}": Calls(
            torch._utils._rebuild_parameter_with_state,
            torch.ones(1),
            True,
            {},
            kind({"__reduce_ex__": str, "__module__": "this"}),
        )
        for kind in (dict, collections.OrderedDict, collections.Counter, collections.ChainMap, collections.UserDict)
    },
    "a parameter's reduction by another kind of text": Calls(
        torch._utils._rebuild_parameter_with_state,
        torch.ones(1),
        True,
        {},
        {np.str_("__reduce_ex__"): str, np.str_("__module__"): "this"},
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_no_data_stays_refused(name: str):
    stream = io.BytesIO()
    torch.save(FORGED[name], stream)
    with pytest.raises(DcpxError) as caught:
        checked_bytes(stream.getvalue())
    assert isinstance(caught.value, UnsupportedError)
    assert "trust=True" in caught.value.remedy


@pytest.mark.parametrize("kind", [int, decimal.Decimal, fractions.Fraction, lambda number: uuid.UUID(int=number)])
def test_keys_of_one_hash(kind: Any):
    """Of many, each would be compared with all others."""
    stream = io.BytesIO()
    torch.save({kind(1 + ((1 << 61) - 1) * number): None for number in range(500)}, stream)
    with pytest.raises(dcpx.LimitError, match="same hash"):
        checked_bytes(stream.getvalue())


def test_no_module_is_imported_by_an_attribute():
    """Whoever pickles an object asks it how."""
    stream = io.BytesIO()
    torch.save(Calls(Outer.Inner, state={"__reduce_ex__": str, "__module__": "this"}), stream)
    with pytest.raises(UnsupportedError, match="sets its __reduce_ex__"):
        checked_bytes(stream.getvalue(), [Outer.Inner])


@pytest.mark.parametrize("kind", [frozenset, lambda numbers: time.struct_time((*numbers, 1, 1, 1, 1, 1, 1, 1))])
def test_keys_whose_hashes_arent_known(kind: Any):
    def saved(count: int) -> bytes:
        stream = io.BytesIO()
        torch.save({kind((number, 1)): None for number in range(count)}, stream)
        return stream.getvalue()

    checked_bytes(saved(2000))
    with pytest.raises(dcpx.LimitError):
        checked_bytes(saved(40_000))


def test_many_paths_as_keys():
    stream = io.BytesIO()
    torch.save({pathlib.Path(f"/data/{number}"): number for number in range(40_000)}, stream)
    checked_bytes(stream.getvalue())


def test_the_same_keys_again_and_again():
    stream = io.BytesIO()
    torch.save([{uuid.UUID(int=5): 1, np.int64(3): 2, decimal.Decimal("1.5"): 3} for _ in range(500)], stream)
    assert torch.load(io.BytesIO(checked_bytes(stream.getvalue())), weights_only=False)[499][np.int64(3)] == 2


def test_sets_that_take_for_ever_to_be_compared():
    """Each level holds the one below twice; a set would compare two of them, part by part."""

    def chain() -> frozenset[Any]:
        made: frozenset[Any] = frozenset(["x"])
        for _ in range(40):
            made = frozenset([(made, 1), (made, 2)])
        return made

    stream = io.BytesIO()
    torch.save(Calls(set, [chain(), chain()]), stream)
    with pytest.raises(dcpx.LimitError):
        checked_bytes(stream.getvalue())


def test_texts_that_take_for_ever_to_be_hashed():
    made: object = "x"
    for _ in range(40):
        made = Calls(collections.UserString, "", state={"data": (made, made)})
    stream = io.BytesIO()
    torch.save(Calls(set, [made]), stream)
    with pytest.raises(UnsupportedError):
        checked_bytes(stream.getvalue())


class Made:
    """An object of a class, made without calling it, and given a state or none."""

    def __init__(self, cls: type, state: object = None) -> None:
        self.cls, self.state = cls, state

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self.cls

    def __reduce_ex__(self, protocol: Any) -> Any:
        return copyreg.__newobj__, (self.cls,), self.state  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", [None, {}, {"other": 1}], ids=str)
@pytest.mark.parametrize("cls", [Shard, Partial])
def test_an_object_of_torchs_without_its_fields(cls: type, state: object):
    """It would be memory that nobody has written to."""
    stream = io.BytesIO()
    torch.save(Made(cls, state), stream)
    with pytest.raises(UnsupportedError):
        checked_bytes(stream.getvalue())


@pytest.mark.parametrize("placement", [Shard(1), Replicate(), Partial()], ids=str)
def test_placements_of_torch(placement: object):
    stream = io.BytesIO()
    torch.save([placement], stream)
    assert torch.load(io.BytesIO(checked_bytes(stream.getvalue())), weights_only=False) == [placement]
