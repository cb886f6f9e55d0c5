"""Objects that are small where they are stored, and would take more memory or time than there is."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from containers import ORDERED, archive, stock_checkpoint, storage, view, whole, with_pickle
from tests.support.metadata import make_object
from tests.support.opcodes import call, get, named, number, numbers, put, text, tuple_of
from tests.support.sinks import Kept

import dcpx
from dcpx import LimitError
from dcpx import StreamTransformExtension as Extension
from dcpx.catalog.containers import read_object
from dcpx.catalog.limits import Limits

# --- pickles ----------------------------------------------------------------------------------------------------------


def again(function: bytes, arguments: bytes, times: int) -> bytes:
    """A list of the same call again and again."""
    calls = (get(0) + get(1) + b"R") * times
    return whole(b"](" + function + put(0) + arguments + put(1) + b"R" + calls + b"e")


def alike(count: int) -> bytes:
    """A dictionary whose keys have one hash: n and n + 2**61 - 1 have the same."""
    keys = (numbers(*(1 + ((1 << 61) - 1) * (key >> bit & 1) for bit in range(16))) + b"N" for key in range(count))
    return b"}(" + b"".join(keys) + b"u"


BOMBS: dict[str, bytes] = {
    "nested tuples as a key": with_pickle(whole(b"})" + b"\x85" * 1_000_000 + b"Ns")),
    "tuples of tuples as a key": with_pickle(
        whole(b"})" + b"".join(put(level) + get(level) + b"\x86" for level in range(60)) + b"Ns")
    ),
    "the same tuple as a key again and again": with_pickle(
        whole(b"](" + tuple_of(*[numbers(*range(100_000))] * 2) + put(0) + (b"}" + get(0) + b"Ns") * 10_000 + b"e")
    ),
    "keys of one hash": with_pickle(whole(alike(20_000))),
    "nested lists": with_pickle(whole(b"]" * 100_000 + b"a" * 99_999)),
    "compressed zeros": archive({"data.pkl": whole(b"N") + b"\0" * 100_000_000}, zipfile.ZIP_DEFLATED),
    "memo index": with_pickle(whole(b"N" + put(0xFFFF_FFFF))),
    "long text": with_pickle(whole(b"X\xff\xff\xff\xff")),
    "large bytearray": with_pickle(whole(call("builtins", "bytearray", number(1 << 40)))),
    "many sets of a list": with_pickle(
        again(named("builtins", "set"), b"](" + b"".join(map(number, range(100_000))) + b"e\x85", 10_000)
    ),
    "many bytes of a text": with_pickle(
        again(named("_codecs", "encode"), text("x" * 1_000_000) + text("latin1") + b"\x86", 100_000)
    ),
    "a decoder": with_pickle(whole(call("_codecs", "encode", text("x" * 100_000), text("idna")))),
    "many lists": with_pickle(whole(b"](" + b"]" * 20_000_000 + b"e")),
    "many sets": with_pickle(whole(b"](" + b"\x8f" * 20_000_000 + b"e")),
    "a tensor made by its class": with_pickle(whole(call("torch", "Tensor", number(1 << 38)))),
    "a storage made by its class": with_pickle(whole(call("torch.storage", "UntypedStorage", number(1 << 40)))),
    "a tensor beyond its storage": with_pickle(whole(view(storage(4), 0, (1 << 30,), (1,))), bytes(16)),
    "more elements than are stored": with_pickle(whole(view(storage(1 << 20), 0, (1 << 20,), (1,))), bytes(16)),
    "a quantized tensor of a terabyte": with_pickle(
        whole(
            call(
                "torch._utils",
                "_rebuild_qtensor",
                storage(16, "QInt8Storage"),
                number(0),
                numbers(1 << 40),
                numbers(0),
                tuple_of(named("torch", "per_tensor_affine"), number(1), number(0)),
                b"\x89",
                ORDERED,
            )
        ),
        bytes(16),
    ),
    "a sparse tensor, elsewhere": with_pickle(
        whole(
            call(
                "torch._utils",
                "_rebuild_sparse_tensor",
                call("torch.serialization", "_get_layout", text("torch.sparse_coo")),
                tuple_of(
                    view(storage(1, "LongStorage"), 0, (1, 1), (1, 1)),
                    view(storage(1, key=text("1")), 0, (1,), (1,)),
                    numbers(1000),
                    b"\x88",
                ),
            )
        ),
        b"\xff" * 7 + b"\x7f",
        bytes(4),
    ),
}


def test_nothing_is_exhausted(tmp_path: Path):
    """Without a crash, in 200 MiB each, and without the minutes of what is quadratic."""
    program = """
        import resource, sys, time
        from dcpx import DcpxError
        from dcpx.loading.objects import checked_bytes

        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        for path in sys.argv[1:]:
            begin = time.process_time()
            try:
                checked_bytes(open(path, "rb").read())
                found = "loaded"
            except DcpxError as error:
                found = type(error).__name__
                assert len(str(error)) < 1000
            # What is quadratic, or worse, takes minutes.
            assert time.process_time() - begin < 60, path
            print(found, flush=True)
    """
    paths = [tmp_path / str(count) for count in range(len(BOMBS))]
    for path, content in zip(paths, BOMBS.values(), strict=True):
        path.write_bytes(content)
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    assert dict(zip(BOMBS, done.stdout.split(), strict=True)) == {
        "nested tuples as a key": "LimitError",
        "tuples of tuples as a key": "LimitError",
        "the same tuple as a key again and again": "LimitError",
        "keys of one hash": "LimitError",
        "nested lists": "loaded",  # by recursion nowhere
        "compressed zeros": "CorruptError",
        "memo index": "CorruptError",
        "long text": "CorruptError",
        "large bytearray": "CorruptError",
        "many sets of a list": "LimitError",
        "many bytes of a text": "LimitError",
        "a decoder": "CorruptError",
        "many lists": "LimitError",
        "many sets": "LimitError",
        "a tensor made by its class": "UnsupportedError",
        "a storage made by its class": "UnsupportedError",
        "a tensor beyond its storage": "CorruptError",
        "more elements than are stored": "CorruptError",
        "a quantized tensor of a terabyte": "CorruptError",
        "a sparse tensor, elsewhere": "CorruptError",
    }


# --- streams ----------------------------------------------------------------------------------------------------------

GIB = 1 << 30


def rle_zeros(size: int) -> bytes:
    """A Zstandard frame of so many zeros, four bytes for each 128 KiB of them."""
    block = 1 << 17
    count, rest = divmod(size, block)
    last = (rest << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\0\x38" + ((block << 3 | 1 << 1).to_bytes(3, "little") + b"\0") * count + last


def skippable(gibibytes: int) -> bytes:
    """A Zstandard frame of so many skippable frames, which a decoder reads and makes nothing of."""
    header = b"\x50\x2a\x4d\x18" + struct.pack("<I", GIB)
    raw = (len(header) << 3).to_bytes(3, "little") + header
    zeros = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\0\x38" + (raw + zeros * (GIB >> 17)) * gibibytes + b"\1\0\0"


def through(extension: Extension, data: bytes, times: int = 1) -> bytes:
    """What the extension stores of `data`, written so many times."""
    stored = Kept()
    with extension.transform_to(stored) as output:
        for _ in range(times):
            output.write(data)
    return stored.getvalue()


PACK, ZSTD = dcpx.Pack("zstd"), dcpx.ZStandard()
ZEROS = bytes(16 << 20)

UNFOLDING: dict[str, tuple[list[Extension], Callable[[], bytes]]] = {
    "Zstandard": ([ZSTD], lambda: rle_zeros(4 * GIB)),
    "Pack": ([PACK], lambda: through(PACK, ZEROS, 256)),
    "Pack in Zstandard": ([dcpx.Chain(PACK, ZSTD)], lambda: through(dcpx.Chain(PACK, ZSTD), ZEROS, 256)),
    "Zstandard in Pack": ([dcpx.Chain(ZSTD, PACK)], lambda: through(PACK, rle_zeros(4 * GIB))),
    "Zstandard in Zstandard": ([dcpx.Chain(ZSTD, ZSTD)], lambda: through(ZSTD, rle_zeros(1024 * GIB))),
    "nothing, after a long time": ([dcpx.Chain(ZSTD, ZSTD, ZSTD)], lambda: through(ZSTD, skippable(256))),
    "two extensions": ([ZSTD, PACK], lambda: through(PACK, rle_zeros(4 * GIB))),
    "two extensions, the other way": ([PACK, ZSTD], lambda: through(ZSTD, through(PACK, ZEROS, 256))),
}

READ = """
    import io, json, resource, sys, time
    import torch.distributed.checkpoint._extension as torchs
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import MetadataIndex
    import dcpx
    from dcpx.catalog.containers import read_object
    from dcpx.catalog.items import StoredItem
    from dcpx.catalog.limits import Limits

    def read(path, of_torch, limits, descriptors):
        registry = torchs.ExtensionRegistry() if of_torch else dcpx.default_registry()
        stored = open(path, "rb").read()
        item = StoredItem(_StorageInfo("f", 0, len(stored), descriptors), MetadataIndex("x"), None, None, None)
        registry.from_descriptor_list(descriptors)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (384 << 20), resource.RLIM_INFINITY))
        for limit in limits:
            begin = time.process_time()
            try:
                size = len(read_object(io.BytesIO(stored), item, registry, Limits(object_size=limit).most_bytes(item)))
                found = str(size)
            except dcpx.DcpxError as error:
                found = f"{type(error).__name__} {error}"
            # All of it would take minutes, or hours.
            assert time.process_time() - begin < 60
            yield found

    for asked in json.loads(sys.argv[1]):
        print(json.dumps(list(read(*asked))), flush=True)
"""


Asked = tuple[Path, Sequence[Extension], list[int]]


def read(asked: Sequence[Asked], of_torch: bool = False) -> list[list[str]]:
    """What reading each object ends in with each limit, in a process that has 384 MiB left for each."""
    listed = [
        [str(path), of_torch, limits, [extension.get_descriptor() for extension in extensions]]
        for path, extensions, limits in asked
    ]
    command = [sys.executable, "-c", textwrap.dedent(READ), json.dumps(listed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What reading each of UNFOLDING ends in, with a limit above what there is and with a small one."""
    folder = tmp_path_factory.mktemp("unfolding")
    asked: list[Asked] = []
    for name, (extensions, make) in UNFOLDING.items():
        (folder / name).write_bytes(make())
        asked.append((folder / name, extensions, [GIB, 32 << 20]))
    return dict(zip(UNFOLDING, read(asked), strict=True))


@pytest.mark.parametrize("name", UNFOLDING)
def test_what_unfolds_into_too_much(name: str, unfolded: dict[str, list[str]]):
    assert len(unfolded[name]) == 2
    for found in unfolded[name]:
        assert found.startswith("LimitError")


def test_what_unfolds_in_torchs_extension(tmp_path: Path):
    stored = rle_zeros(4 * GIB)
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(stored)
    small.write_bytes(rle_zeros(1000))
    found = read([(large, [ZSTD], [GIB]), (small, [ZSTD], [GIB, 1000])], of_torch=True)
    assert found[0][0].startswith(
        f"LimitError the object unfolds into more than {1024 * len(stored)} bytes, of {len(stored)}"
    )
    assert found[1] == ["1000", "1000"]


@pytest.mark.parametrize("extension", [PACK, ZSTD, dcpx.Chain(PACK, ZSTD), None], ids=str)
def test_the_bounds_themselves(extension: Extension | None):
    def read_it(data: bytes, limit: int, stored_size: int | None = None) -> bytes:
        stored = data if extension is None else through(extension, data)
        descriptors = None if extension is None else [extension.get_descriptor()]
        item = make_object(len(stored) if stored_size is None else stored_size, descriptors)
        return read_object(
            io.BytesIO(stored), item, dcpx.default_registry(), Limits(object_size=limit).most_bytes(item)
        )

    data = bytes(3_000_000)
    for size in (0, 1, 1 << 20, (1 << 20) + 1, 3_000_000):
        assert read_it(data[:size], 3_000_000) == data[:size]
        assert read_it(data[:size], size) == data[:size]
        if size:
            with pytest.raises(LimitError):
                read_it(data[:size], size - 1)
    free = bytes(64 << 20)
    assert read_it(free, GIB, 10) == free
    assert read_it(free + b"\0", GIB, 65537) == free + b"\0"
    with pytest.raises(LimitError):
        read_it(free + b"\0", GIB, 65536)


def test_a_load_of_such_an_object(tmp_path: Path):
    stored = rle_zeros(4 * GIB)
    path = stock_checkpoint(tmp_path, "an object", stored, ["stream.zstd/1"])
    with pytest.raises(LimitError, match=f"unfolds into more than {1024 * len(stored)} bytes") as caught:
        dcpx.load({"x": None}, path)
    assert caught.value.where.item == "x"
