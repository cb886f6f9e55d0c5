"""Objects that real states hold load as they were; what would run code is refused before anybody unpickles it."""

from __future__ import annotations

import collections
import datetime
import decimal
import functools
import io
import os
import pathlib
import pickle
import random
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcpx import CorruptError, DcpxError, LimitError, UnsupportedError
from dcpx.loading.objects import checked_bytes

UTC = datetime.timezone.utc


def container(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def unpickled(content: bytes) -> Any:
    """As a planner does it."""
    return torch.load(io.BytesIO(content), weights_only=False)


def with_pickle(pickled: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A container whose object is this pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(container(0))) as model, zipfile.ZipFile(stream, "w", compression) as forged:
        for entry in model.infolist():
            content = pickled if entry.filename.endswith("/data.pkl") else model.read(entry)
            forged.writestr(entry.filename, content)
    return stream.getvalue()


# --- what states hold -------------------------------------------------------------------------------------------------


def model_state() -> Any:
    """A dictionary with an attribute, `_metadata`."""
    return torch.nn.Linear(2, 3).state_dict()


def with_attributes(tensor: Any) -> Any:
    tensor.sharded = {"axis": 1}
    return tensor


OBJECTS: dict[str, Any] = {
    "None": None,
    "numbers": [True, False, 0, -1, 255, 1 << 40, -(1 << 200), 1.5, float("inf"), 1j],
    "texts": ["", "Grüße \N{SNOWMAN}", "x" * 300, b"", b"\0\xff", bytearray(b"\1\2")],
    "containers": [(), (1,), (1, 2, 3, 4), [], {}, {"a": {"b": [1]}}, {1: 2, (1, "a"): 3, None: 4}],
    "sets": [set(), {1, "a"}, frozenset(), frozenset({1, (2, 3)})],
    "ordered": collections.OrderedDict(b=1, a=2),
    "counted": collections.Counter("abca"),
    "torch": [torch.Size([2, 3]), torch.bfloat16, torch.strided, torch.device("cpu"), torch.device("cuda", 1)],
    "tensors": {"x": torch.arange(6).reshape(2, 3), "y": torch.ones(3, dtype=torch.bfloat16, requires_grad=True)},
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "random states": [torch.get_rng_state(), random.Random(0).getstate(), np.random.RandomState(0).get_state()],
    "times": [datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, tzinfo=UTC), datetime.timedelta(1, 2, 3)],
    "paths": [pathlib.Path("/a/b"), pathlib.PurePosixPath("c"), pathlib.PureWindowsPath("C:/d")],
    "numpy scalars": [np.float64(1.5), np.float16(2), np.int64(-3), np.uint8(4), np.bool_(True), np.complex64(1j)],
    "numpy texts and times": [
        np.str_("é"),
        np.bytes_(b"a"),
        np.datetime64("2026-01-02", "ns"),
        np.timedelta64(3, "25s"),
    ],
    "numpy arrays": [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), "f4")),
        np.arange(5, dtype=">i2"),
        np.zeros((2, 0, 3)),
        np.array(2.5),
        np.array([[True], [False]]),
        np.array(["a", "bcd"]),
        np.ones((4, 6))[::2, 1::2],
    ],
    "numpy dtypes": [np.dtype("f8"), np.dtype(">u2"), np.dtype("M8[us]"), np.dtype("U5")],
    "a model's state": model_state(),
    "tensors of other kinds": [
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.ones(3).expand(1000, 3),
        torch.empty(0, 5)[:, 2:],
        torch.ones(3, dtype=torch.complex64).conj(),
        torch.ones(3).to(torch.float8_e5m2),
        torch.quantize_per_tensor(torch.ones(3), 0.5, 1, torch.quint8),
        with_attributes(torch.ones(3)),
        with_attributes(torch.nn.Parameter(torch.ones(3))),
    ],
    "bytes": [b"", b"\0\xff", bytearray(), bytearray(b"\0\xff"), {b"a": 1}],
    "keys": {1: 1, -1: 2, -2: 3, 1.5: 4, (1, (2, None)): 5, False: 6, 1j: 7, torch.float32: 8, frozenset({1}): 9},
    "scheduler": torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]), 3).state_dict(),
}


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """In a form that can be compared."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor.to_dense() if tensor.layout != torch.strided else tensor


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape, found.requires_grad) == (
            expected.dtype,
            expected.shape,
            expected.requires_grad,
        )
        assert found.layout == expected.layout
        assert torch.equal(dense(found), dense(expected))
        assert vars(found) == vars(expected)
    elif isinstance(expected, np.ndarray):
        expected = pickle.loads(pickle.dumps(expected))  # which changes the order of bytes and of dimensions, or not
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        # Not OWNDATA: whose memory it is differs between versions of Python and NumPy, and says nothing of the value.
        for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
            assert found.flags[flag] == expected.flags[flag]
        assert np.array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
        assert getattr(found, "__dict__", {}) == getattr(expected, "__dict__", {})
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for part, expected_part in zip(found, expected, strict=True):
            assert_same(part, expected_part)
    else:
        assert found == expected


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_come_back(name: str):
    checked = checked_bytes(container(OBJECTS[name]))
    assert_same(unpickled(checked), OBJECTS[name])
    assert_same(unpickled(checked_bytes(checked)), OBJECTS[name])


@pytest.mark.parametrize("names", [False, True])
def test_storages_that_end_in_a_part_of_an_element(names: bool):
    """torch.save writes them, within an object as well, and torch.load doesn't read them."""
    room = torch.arange(25, dtype=torch.uint8)
    tensor = room[8:24].view(torch.float32)
    checked = checked_bytes(container((tensor, datetime.date(2026, 1, 2) if names else None)))
    found = unpickled(checked)[0]
    assert found.dtype == torch.float32
    assert torch.equal(found.view(torch.uint8), room[8:24])


def test_what_is_shared_stays_shared():
    array, tensor, part = np.ones(3), torch.arange(10), [1]
    found = unpickled(checked_bytes(container([array, array, part, part, tensor, tensor[2:4]])))
    assert found[0] is found[1]
    assert found[2] is found[3]
    assert found[4].untyped_storage().data_ptr() == found[5].untyped_storage().data_ptr()


def test_a_stream_comes_back():
    stream = io.BytesIO(b"abc")
    stream.seek(1)
    assert unpickled(checked_bytes(container({"extra_state": stream})))["extra_state"].read() == b"bc"


# --- what the caller allows -------------------------------------------------------------------------------------------


class Config:
    """A user's class with a state of its own."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and vars(other) == vars(self)


class Price(decimal.Decimal):
    """A user's class that is made of arguments."""


def test_safe_globals_of_the_caller():
    content = container({"config": Config(3), "price": Price("1.5")})
    with pytest.raises(UnsupportedError) as caught:
        checked_bytes(content)
    for name in (f"{__name__}.Config", f"{__name__}.Price"):
        assert name in str(caught.value)
    for remedy in ("safe_globals=[...]", "trust=True"):
        assert remedy in caught.value.remedy
    with pytest.raises(UnsupportedError, match=r"names [a-z_.]+\.Price, which"):
        checked_bytes(content, [Config])

    before = set(torch.serialization.get_safe_globals())
    found = unpickled(checked_bytes(content, [Config, (Price, f"{__name__}.Price")]))
    assert found == {"config": Config(3), "price": Price("1.5")}
    assert set(torch.serialization.get_safe_globals()) == before


def test_safe_globals_of_the_process():
    """What the user told torch holds, and stays told."""
    content = container([Config(3), np.ones(2)])
    with torch.serialization.safe_globals([Config]):
        assert unpickled(checked_bytes(content))[0] == Config(3)
        assert unpickled(checked_bytes(content, [Config]))[0] == Config(3)
        assert Config in torch.serialization.get_safe_globals()
    with pytest.raises(UnsupportedError):
        checked_bytes(content)


def test_a_class_under_another_name():
    content = container(Config(3)).replace(b"Config", b"Canfig")
    assert unpickled(checked_bytes(content, [(Config, f"{__name__}.Canfig")])) == Config(3)


# --- what is refused --------------------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the object was run"


def attacks(path: Path) -> dict[str, bytes]:
    command = f"touch {path}"
    touch = Calls(os.system, command)
    ordered: Any = collections.OrderedDict(a=1)
    vars(ordered)["state"] = touch
    legacy = io.BytesIO()
    torch.save(touch, legacy, _use_new_zipfile_serialization=False)
    script = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), script)
    system = b"cos\nsystem\n"
    arguments = b"X" + struct.pack("<I", len(command)) + command.encode() + b"\x85R"
    return {
        "os.system": container(touch),
        "os.system as a part": container({"a": [1, (touch,)]}),
        "os.system in an attribute": container(ordered),
        "eval": container(Calls(eval, f"open({str(path)!r}, 'w')")),
        "exec": container(Calls(exec, f"open({str(path)!r}, 'w')")),
        "getattr": container(Calls(getattr, "", "join")),
        "subprocess": container(Calls(subprocess.Popen, ["touch", str(path)])),
        "partial": container(functools.partial(os.system, command)),
        "a module": container(torch.nn.Linear(1, 1)),
        "a function": container(os.system),
        "the legacy format": legacy.getvalue(),
        "a bare pickle": pickle.dumps(touch, 2),
        "TorchScript": script.getvalue(),
        "opcodes that torch's safe unpickler has not": with_pickle(pickle.dumps(touch, 4)),
        "INST": with_pickle(b"\x80\x02(X\x01\0\0\0aios\nsystem\n."),
        "persistent id": with_pickle(b"\x80\x02]Q."),
        "EXT": with_pickle(b"\x80\x02\x82\x01."),
        "a pickle behind the pickle": with_pickle(b"\x80\x02N." + b"\x80\x02" + system + arguments + b"."),
    }


@pytest.mark.parametrize("name", attacks(Path()))
def test_nothing_is_run(name: str, canary: Path):
    content = attacks(canary)[name]
    if name == "a pickle behind the pickle":
        assert unpickled(checked_bytes(content)) is None
        return
    with pytest.raises((UnsupportedError, CorruptError)) as caught:
        checked_bytes(content)
    assert not str(caught.value).count("\033")
    if name in ("os.system", "os.system as a part", "os.system in an attribute", "partial"):
        assert isinstance(caught.value, UnsupportedError)
        assert "posix.system" in str(caught.value)


def test_os_stays_forbidden_even_if_it_is_allowed(canary: Path):
    with pytest.raises(UnsupportedError):
        checked_bytes(container(Calls(os.system, f"touch {canary}")), [os.system])


NUMPY_ATTACKS: dict[str, Any] = {
    "fields of objects": np.zeros(2, [("a", "f4"), ("b", "O")]),
    "a scalar of too few bytes": Calls(np.float64(0).__reduce__()[0], np.dtype("f8"), b"\0" * 7),
    "a scalar that is an object": Calls(np.float64(0).__reduce__()[0], np.dtype("O"), [1]),
    "what makes scalars": np.float64(0).__reduce__()[0],
    "what makes arrays": np.ones(1).__reduce__()[0],
    "made by the class of arrays": Calls(np.ndarray, (1 << 20,)),
    "bytes of a size": Calls(bytes, 1 << 20),
    "NumPy's texts of any length": np.array(["a"], np.dtypes.StringDType()),
}


@pytest.mark.parametrize("name", NUMPY_ATTACKS)
def test_what_numpy_would_trust_is_refused(name: str):
    with pytest.raises(DcpxError):
        checked_bytes(container(NUMPY_ATTACKS[name]))


class Forged:
    """Pickles as an array with this state."""

    def __init__(self, *state: object) -> None:
        self.state = state

    def __reduce__(self) -> Any:
        function, arguments, _ = np.ones(1).__reduce__()
        return function, arguments, self.state


def test_numpy_arrays_have_the_bytes_that_their_shape_needs():
    f8 = np.dtype("f8")
    assert unpickled(checked_bytes(container(Forged(1, (2,), f8, False, b"\0" * 16)))).tolist() == [0.0, 0.0]
    for state in (
        (1, (2,), f8, False, b"\0" * 15),
        (1, (1 << 40,), f8, False, b"\0" * 16),
        (1, (-2, -1), f8, False, b"\0" * 16),
        (1, (2.0,), f8, False, b"\0" * 16),
        (1, 2, f8, False, b"\0" * 16),
        (1, (2,), "f8", False, b"\0" * 16),
        (1, (2,), f8, False, [1.0, 2.0]),
        (1, (2,), f8, False),
        (),
    ):
        with pytest.raises(DcpxError):
            checked_bytes(container(Forged(*state)))


# --- what is damaged or too large -------------------------------------------------------------------------------------


def test_damage():
    content = container({"step": 3, "name": "x", "rng": torch.arange(3), "array": np.ones(2)})
    for size in range(0, len(content), 7):
        with pytest.raises(DcpxError):
            checked_bytes(content[:size])
    for bit in range(0, len(content) * 8, 5):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            unpickled(checked_bytes(bytes(damaged)))
        except (CorruptError, UnsupportedError, LimitError) as error:
            assert len(str(error)) < 2000  # noqa: PT017
    for content in (b"", b"PK", b"PK\x03\x04", b"\x80\x02N.", os.urandom(500)):
        with pytest.raises(CorruptError):
            checked_bytes(content)


def test_deep_but_honest():
    value: Any = ()
    for _ in range(100):
        value = (value,)
    assert unpickled(checked_bytes(container({value: 1}))) == {value: 1}
