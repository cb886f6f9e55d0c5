"""Containers of a tensor that lie, and what they lie about; none may be believed."""

from __future__ import annotations

import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import torch
from containers import ORDERED, archive, records_of, saved, storage, view, whole, with_pickle
from tests.support.opcodes import call, get, laughing, named, number, numbers, put, text, tuple_of
from tests.support.tensors import bits, random_tensor

TENSOR = random_tensor(torch.float32, (1000,))
DATA = bits(TENSOR)
PLAIN = view(storage(1000), 0, (1000,), (1,))
STORED = with_pickle(whole(PLAIN), DATA)

GOOD = {
    "torch's": saved(TENSOR),
    "by hand": STORED,
    "of torch 0.4": with_pickle(
        whole(call("torch._utils", "_rebuild_tensor", storage(1000), number(0), numbers(1000), numbers(1))), DATA
    ),
    "a parameter": with_pickle(whole(call("torch._utils", "_rebuild_parameter", PLAIN, b"\x89", ORDERED)), DATA),
    "big-endian": with_pickle(whole(PLAIN), struct.pack(">1000I", *struct.unpack("<1000I", DATA)), byteorder=b"big"),
    "with other records": with_pickle(whole(PLAIN), DATA, **{".data/serialization_id": b"1", "data/7": b"unused"}),
}


def rebuilt(function: str, *arguments: bytes, data: bytes = DATA, more: bytes = b"") -> bytes:
    return with_pickle(whole(call("torch._utils", function, *arguments)), data, more)


def patched(old: bytes, new: bytes, count: int = 1, container: bytes = STORED) -> bytes:
    assert len(old) == len(new)
    assert container.count(old) == count, container.count(old)
    return container.replace(old, new)


def zeros_deflated() -> bytes:
    """800 MB of zeros as the tensor's elements, in less than a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(800)) + packer.flush()
    pickled = whole(view(storage(200 << 20), 0, (1000,), (1,)))
    made = archive({"version": b"3\n", "data.pkl": pickled, "data/0": packed})
    sizes = struct.pack("<2I", len(packed), len(packed))
    return patched(sizes, struct.pack("<2I", len(packed), 800 << 20), 2, _deflated(made, b"archive/data/0"))


def _deflated(made: bytes, name: bytes) -> bytes:
    """The archive with this entry marked as compressed, in both places."""
    data = bytearray(made)
    local, central = data.index(name), data.rindex(name)
    data[local - 22 : local - 20] = data[central - 36 : central - 34] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    return bytes(data)


def moved(name: bytes, offset: int, container: bytes = STORED) -> bytes:
    """The container with another place for a record in its directory."""
    data = bytearray(container)
    entry = data.rindex(name)
    data[entry - 4 : entry] = struct.pack("<I", offset)
    return bytes(data)


def sized(name: bytes, size: int, container: bytes = STORED) -> bytes:
    """The container with another size for a record in its directory."""
    data = bytearray(container)
    entry = data.rindex(name)
    data[entry - 26 : entry - 18] = struct.pack("<2I", size, size)
    return bytes(data)


def wide_end(container: bytes, size: int, begins: int) -> bytes:
    """The container with a 64-bit end that says where the directory is."""
    end, old = len(container) - 22, container[-22:]
    count = struct.unpack_from("<H", old, 10)[0]
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, begins)
    return container[:end] + record + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1) + old


def legacy(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def script() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), stream)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("sys_info"), io.BytesIO())
    return stream.getvalue()


def key_of(keys: bytes) -> bytes:
    """A tensor with attributes of which one is named by this."""
    state = b"}" + keys + b"Ns"
    arguments = tuple_of(storage(1000), number(0), numbers(1000), numbers(1), b"\x89", ORDERED)
    made = call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        named("torch._utils", "_rebuild_tensor_v2"),
        named("torch", "Tensor"),
        arguments,
        state,
    )
    return with_pickle(whole(made), DATA)


def alike(count: int) -> bytes:
    """Keys of one hash: n and n + 2**61 - 1 have one."""
    keys = (numbers(*(1 + ((1 << 61) - 1) * (index >> bit & 1) for bit in range(12))) + b"N" for index in range(count))
    return b"}(" + b"".join(keys) + b"u"


def quantized(size: tuple[int, ...], stride: tuple[int, ...], scheme: bytes, data: bytes = DATA) -> bytes:
    stored = storage(4000, "QInt8Storage")
    made = call(
        "torch._utils",
        "_rebuild_qtensor",
        stored,
        number(0),
        numbers(*size),
        numbers(*stride),
        scheme,
        b"\x89",
        ORDERED,
    )
    return with_pickle(whole(made), data, bytes(8), bytes(8))


def by_channel(axis: int) -> bytes:
    """A scheme of one scale and zero point."""
    scales = view(storage(1, "DoubleStorage", text("1")), 0, (1,), (1,))
    points = view(storage(1, "LongStorage", text("2")), 0, (1,), (1,))
    return tuple_of(named("torch", "per_channel_affine"), scales, points, number(axis))


PER_TENSOR = tuple_of(named("torch", "per_tensor_affine"), b"G" + struct.pack(">d", 0.5), number(0))
INDICES = view(storage(1, "LongStorage", text("1")), 0, (1, 1), (1, 1))
LAYOUT = call("torch.serialization", "_get_layout", text("torch.sparse_coo"))


def marked(mark: bytes, count: int = 1000, kind: str = "FloatStorage") -> bytes:
    """A tensor with these marks, such as that it is a conjugate."""
    made = [storage(count, kind), number(0), numbers(count), numbers(1), b"\x89", ORDERED, b"}" + mark]
    return rebuilt("_rebuild_tensor_v2", *made)


BAD: dict[str, Callable[[], bytes]] = {
    # The archive.
    "nothing": lambda: b"",
    "no archive": lambda: DATA,
    "a bare pickle": lambda: whole(PLAIN),
    "the legacy format": lambda: legacy(TENSOR),
    "the legacy format before an archive": lambda: _behind(legacy(torch.zeros(8, 8)), STORED),
    "tar": tarred,
    "TorchScript": script,
    "800 MB of zeros, compressed": zeros_deflated,
    "compressed": lambda: archive(records_of(STORED), zipfile.ZIP_DEFLATED),
    "bytes behind": lambda: STORED + b"\0",
    "bytes before": lambda: b"\0" + STORED,
    "a comment": lambda: STORED[:-2] + b"\1\0x",
    "an item far too long": lambda: with_pickle(whole(PLAIN), DATA, bytes(60 << 20)),
    "a size beyond the end": lambda: sized(b"archive/data/0", 0x7FFFFFFF),
    "a size beyond all": lambda: sized(b"archive/data/0", 0xFFFFFFFF),
    "a size into the directory": lambda: sized(b"archive/data/0", 4100),
    "too small a size": lambda: sized(b"archive/data/0", 3996),
    "two sizes": lambda: patched(struct.pack("<2I", 4000, 4000), struct.pack("<2I", 4000, 5000), 2),
    "records on each other": lambda: moved(b"archive/data/0", STORED.index(b"PK\3\4", 40)),
    "a record beyond the end": lambda: moved(b"archive/data/0", 0x7FFFFFFF),
    "a record in the directory": lambda: moved(b"archive/data/0", STORED.rindex(b"PK\1\2")),
    "two pickles": lambda: archive({**records_of(STORED), "DATA.PKL": b"N."}),
    "two folders": lambda: patched(b"archive/byteorder", b"brchive/byteorder", 2),
    "no folder": lambda: patched(b"archive/byteorder", b"archive_byteorder", 2),
    "a name with a NUL": lambda: patched(b"archive/data/0", b"archive/data\0000"[:14], 2),
    "two names of a record": lambda: STORED.replace(b"archive/data/0", b"archive/data/1", 1),
    "no pickle": lambda: archive({"version": b"3\n"}),
    "no version": lambda: archive({"data.pkl": whole(PLAIN), "data/0": DATA}),
    "a late version": lambda: with_pickle(whole(PLAIN), DATA, version=b"999999\n"),
    "a version that is none": lambda: with_pickle(whole(PLAIN), DATA, version=b"x"),
    "no order of bytes": lambda: with_pickle(whole(PLAIN), DATA, byteorder=b"middle"),
    "a directory elsewhere": lambda: wide_end(STORED, 46, 0),
    "a second directory": lambda: wide_end(STORED, len(STORED) - 22, 0),
    "encrypted": lambda: _flagged(STORED, 8, 1),
    "a folder": lambda: _flagged(STORED, 38, 1 << 4),
    "a name of a folder": lambda: archive({**records_of(STORED), "data/1/": b"x"}),
    # The pickle: what it names.
    "os.system": lambda: with_pickle(whole(call("os", "system", text("touch CANARY"))), DATA),
    "eval": lambda: with_pickle(whole(call("builtins", "eval", text("open('CANARY', 'w')"))), DATA),
    "os.system of a tensor": lambda: with_pickle(
        whole(b"0".join([call("posix", "system", text("touch CANARY")), PLAIN])), DATA
    ),
    "an attribute that is a call": lambda: key_of(
        text("x") + call("os", "system", text("touch CANARY")) + b"s}" + text("y")
    ),
    "opcodes of another protocol": lambda: with_pickle(b"\x80\x04\x95" + bytes(8) + b"N.", DATA),
    "no opcode": lambda: with_pickle(b"\x80\x02\xff.", DATA),
    "a pickle without end": lambda: with_pickle(b"\x80\x02" + PLAIN, DATA),
    "torch's tensors on a mesh": lambda: with_pickle(whole(call("torch.distributed.device_mesh", "DeviceMesh")), DATA),
    # What it makes.
    "a large pickle": lambda: with_pickle(b"\x80\x02" + b"N0" * 500_000 + PLAIN + b".", DATA),
    "a long text": lambda: with_pickle(b"\x80\x02X\xff\xff\xff\xff", DATA),
    "an object": lambda: saved({"not": "a tensor"}),
    "a list of tensors": lambda: saved([TENSOR]),
    "a number": lambda: saved(5),
    "a bytearray of a terabyte": lambda: with_pickle(whole(call("builtins", "bytearray", number(1 << 40))), DATA),
    "bytes of a bytearray": lambda: with_pickle(
        whole(
            b"]("
            + named("_codecs", "encode")
            + put(0)
            + text("x" * 200_000)
            + text("latin1")
            + b"\x86"
            + put(1)
            + b"R"
            + (get(0) + get(1) + b"R") * 5000
            + b"e"
        ),
        DATA,
    ),
    "sets of a set": lambda: with_pickle(
        whole(
            b"]("
            + named("builtins", "set")
            + put(0)
            + b"]("
            + b"".join(map(number, range(20_000)))
            + b"e\x85"
            + put(1)
            + b"R"
            + (get(0) + get(1) + b"R") * 5000
            + b"e"
        ),
        DATA,
    ),
    "a tensor made by its class": lambda: with_pickle(whole(call("torch", "Tensor", number(1 << 38))), DATA),
    "a tensor made by an old class": lambda: with_pickle(whole(call("torch", "FloatTensor", number(1 << 38))), DATA),
    "a storage made by its class": lambda: with_pickle(
        whole(call("torch.storage", "UntypedStorage", number(1 << 40))), DATA
    ),
    "a new tensor": lambda: with_pickle(whole(named("torch", "Tensor") + numbers(1 << 38) + b"\x81"), DATA),
    "a tensor that is changed": lambda: with_pickle(
        whole(PLAIN + tuple_of(storage(1000), number(0), numbers(1 << 40), numbers(1)) + b"b"), DATA
    ),
    # Storages and views.
    "more elements than are stored": lambda: with_pickle(whole(view(storage(2000), 0, (1000,), (1,))), DATA),
    "fewer elements than are stored": lambda: with_pickle(whole(view(storage(999), 0, (999,), (1,))), DATA),
    "a terabyte of elements": lambda: with_pickle(whole(view(storage(1 << 38), 0, (1000,), (1,))), DATA),
    "less than no elements": lambda: with_pickle(whole(view(storage(-1), 0, (1000,), (1,))), DATA),
    "a storage that isn't there": lambda: with_pickle(
        whole(view(storage(1000, key=text("9")), 0, (1000,), (1,))), DATA
    ),
    "a storage named by tuples": lambda: with_pickle(
        whole(view(storage(1000, key=b")" + b"\x85" * 200_000), 0, (1000,), (1,))), DATA
    ),
    "a storage named by pairs of pairs": lambda: with_pickle(
        whole(view(storage(1000, key=laughing()), 0, (1000,), (1,))), DATA
    ),
    "a storage of an unknown class": lambda: with_pickle(
        whole(view(storage(1000, "OddStorage"), 0, (1000,), (1,))), DATA
    ),
    "a storage of two kinds": lambda: with_pickle(
        whole(b"](" + storage(1000) + view(storage(500, "LongStorage"), 0, (1000,), (1,)) + b"e"), DATA
    ),
    "a number for a storage": lambda: with_pickle(whole(b"K\x01Q"), DATA),
    "a view behind the end": lambda: with_pickle(whole(view(storage(1000), 1, (1000,), (1,))), DATA),
    "a view of large steps": lambda: with_pickle(whole(view(storage(1000), 0, (1000,), (1 << 20,))), DATA),
    "a view that begins early": lambda: with_pickle(whole(view(storage(1000), -1, (1000,), (1,))), DATA),
    "a view that goes back": lambda: with_pickle(whole(view(storage(1000), 999, (1000,), (-1,))), DATA),
    "a view of too many bits": lambda: with_pickle(whole(view(storage(1000), 1 << 70, (1000,), (1,))), DATA),
    "one element for all": lambda: with_pickle(whole(view(storage(1), 0, (1000,), (0,))), DATA[:4]),
    "as many dimensions as fit": lambda: with_pickle(whole(view(storage(1000), 0, (1,) * 10_000, (1,) * 10_000)), DATA),
    "sizes that are lists": lambda: rebuilt(
        "_rebuild_tensor_v2", storage(1000), number(0), b"]K\x01a", b"]K\x01a", b"\x89", ORDERED
    ),
    "hooks that are none": lambda: rebuilt(
        "_rebuild_tensor_v2", storage(1000), number(0), numbers(1000), numbers(1), b"\x89", text("x")
    ),
    "marks that are none": lambda: marked(text("conj") + text("x") + b"s"),
    "marks of numbers": lambda: marked(number(1) + number(2) + b"s"),
    "a conjugate of what isn't complex": lambda: marked(text("conj") + b"\x88s"),
    "a negative truth": lambda: marked(text("neg") + b"\x88s", 4000, "BoolStorage"),
    "another shape": lambda: saved(TENSOR.view(10, 100)),
    "another dtype": lambda: saved(TENSOR.view(torch.int32)),
    # Keys.
    "nested tuples as a key": lambda: key_of(b")" + b"\x85" * 200_000),
    "many nested tuples as a key": lambda: key_of(b")" + b"\x85" * 1_000_000),
    "pairs of pairs as a key": lambda: key_of(laughing()),
    "keys of one hash": lambda: key_of(text("x") + alike(2000) + b"s}" + text("y")),
    # Other tensors.
    "quantized beyond its storage": lambda: quantized((1 << 40,), (1,), PER_TENSOR),
    "quantized, one for all": lambda: quantized((1 << 40,), (0,), PER_TENSOR),
    "quantized with one scale for all": lambda: quantized((1000,), (1,), by_channel(0)),
    "quantized along no axis": lambda: quantized((1000,), (1,), by_channel(7)),
    "quantized in an unknown way": lambda: quantized(
        (1000,), (1,), tuple_of(named("torch", "float32"), number(1), number(0))
    ),
    "sparse": lambda: saved(torch.eye(3).to_sparse()),
    "sparse, elsewhere": lambda: with_pickle(
        whole(
            call(
                "torch._utils",
                "_rebuild_sparse_tensor",
                LAYOUT,
                tuple_of(INDICES, view(storage(1000), 0, (1,), (1,)), numbers(1000), b"\x88"),
            )
        ),
        DATA,
        struct.pack("<q", 1 << 40),
    ),
    "nested": lambda: with_pickle(
        whole(call("torch._utils", "_rebuild_nested_tensor", PLAIN, INDICES, INDICES, INDICES)), DATA, bytes(8)
    ),
    "without elements": lambda: rebuilt(
        "_rebuild_meta_tensor_no_storage", named("torch", "float32"), numbers(1000), numbers(1), b"\x89"
    ),
    "copied to another dtype": lambda: rebuilt(
        "_rebuild_device_tensor_from_cpu_tensor", PLAIN, named("torch", "complex128"), text("cpu"), b"\x89"
    ),
    "of numpy": lambda: rebuilt(
        "_rebuild_device_tensor_from_numpy", PLAIN, named("torch", "float32"), text("cpu"), b"\x89"
    ),
    "a wrapper of nothing": lambda: with_pickle(
        whole(
            call(
                "torch._tensor",
                "_rebuild_from_type_v2",
                named("torch._utils", "_rebuild_wrapper_subclass"),
                named("torch", "Tensor"),
                tuple_of(
                    named("torch", "Tensor"),
                    named("torch", "float32"),
                    numbers(1000),
                    numbers(1),
                    number(0),
                    call("torch.serialization", "_get_layout", text("torch.strided")),
                    call("torch", "device", text("cpu")),
                    b"\x89",
                ),
                b"N",
            )
        ),
        DATA,
    ),
}


def _behind(before: bytes, container: bytes) -> bytes:
    """The container with other bytes before it, and its offsets put right."""
    entries = container.count(b"PK\1\2")
    data = bytearray(before + container)
    position = 0
    for _ in range(entries):
        position = data.index(b"PK\1\2", position + 1)
        offset = struct.unpack_from("<I", data, position + 42)[0] + len(before)
        struct.pack_into("<I", data, position + 42, offset)
    begins = struct.unpack_from("<I", data, len(data) - 6)[0] + len(before)
    struct.pack_into("<I", data, len(data) - 6, begins)
    return bytes(data)


def _flagged(container: bytes, position: int, flag: int) -> bytes:
    """The container with a flag set at a position of its directory's last entry, that of the elements."""
    data = bytearray(container)
    data[data.rindex(b"PK\1\2") + position] |= flag
    return bytes(data)
