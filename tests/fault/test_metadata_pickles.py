"""Pickles that would run code, change the process or exhaust it are refused, and nothing of them happens."""

from __future__ import annotations

import copyreg
import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.metadata_files import PLAIN_CLASSES, small
from tests.support.opcodes import get, laughing, named, put, text
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata

from dcpx import CorruptError, LimitError, UnsupportedError
from dcpx.dcp.metadata import load_metadata

DCP = "torch.distributed.checkpoint.metadata"
EXTENSION_CODE = 0xC0


# --- a pickle's words -------------------------------------------------------------------------------------------------


def stack_named(module: str, name: str) -> bytes:
    """STACK_GLOBAL"""
    return text(module) + text(name) + b"\x93"


def record(name: str) -> bytes:
    """An object of one of DCP's classes, without fields."""
    return named(DCP, name) + b")\x81"


def metadata_with(value: bytes, field: str = "planner_data", protocol: int = 4) -> bytes:
    """Metadata that would be right, but for one field."""
    fields = {"state_dict_metadata": b"}", "storage_data": b"}", "planner_data": b"N"} | {field: value}
    pairs = b"".join(text(name) + pickled for name, pickled in fields.items())
    return b"\x80" + bytes([protocol]) + record("Metadata") + b"}(" + pairs + b"ub."


def test_the_words_are_right():
    """Else the tests below would refuse for another reason than theirs."""
    data = metadata_with(b"]" + b"K\x05a")
    assert load_metadata(data) == pickle.loads(data) == Metadata({}, [5], {})
    index = record("MetadataIndex") + b"}(" + text("fqn") + text("a") + b"ub"
    pickle.loads(metadata_with(b"}(" + index + b"Nu"))


# --- nothing is run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that the attacks would make; the classes and the process that they would change."""
    path = tmp_path / "canary"
    before = {cls: dict(vars(cls)) for cls in PLAIN_CLASSES}
    modules = set(sys.modules)
    yield path
    assert not path.exists(), "the file was run"
    assert {cls: dict(vars(cls)) for cls in PLAIN_CLASSES} == before
    assert set(sys.modules) == modules


def calls(path: Path) -> dict[str, bytes]:
    """Ways to call something."""
    touch = text(f"touch '{path}'") + b"\x85"
    make = text(f"open({str(path)!r}, 'w')") + b"\x85"
    command = b"(" + text("touch") + text(str(path)) + b"l"  # LIST
    member = named(DCP, "_MEM_FORMAT_ENCODING")
    return {
        "os.system": named("os", "system") + touch + b"R",
        "posix.system": named("posix", "system") + touch + b"R",
        "os.system by STACK_GLOBAL": stack_named("os", "system") + touch + b"R",
        "eval": named("builtins", "eval") + make + b"R",
        "eval of Python 2": named("__builtin__", "eval") + make + b"R",
        "exec": stack_named("builtins", "exec") + make + b"R",
        "open": named("builtins", "open") + text(str(path)) + text("w") + b"\x86R",
        "getattr": named("builtins", "getattr") + named("os", "system") + text("__call__") + b"\x86R" + touch + b"R",
        "getattr of a class": named("builtins", "getattr") + named(DCP, "Metadata") + text("__init__") + b"\x86R",
        "getattr of an object": named("builtins", "getattr") + record("Metadata") + text("__class__") + b"\x86R",
        "getattr of the enum": named("builtins", "getattr") + member + text("__class__") + b"\x86R",
        "getattr of nothing": named("builtins", "getattr") + b")R",
        "getattr with a name that is a list": named("builtins", "getattr") + member + b"]\x86R",
        "subprocess by REDUCE": named("subprocess", "Popen") + command + b"\x85R",
        "subprocess by NEWOBJ": named("subprocess", "Popen") + command + b"\x85\x81",
        "subprocess by NEWOBJ_EX": named("subprocess", "Popen") + command + b"\x85}\x92",
        "INST": b"(" + text(f"touch '{path}'") + b"ios\nsystem\n",
        "OBJ": b"(" + named("os", "system") + text(f"touch '{path}'") + b"o",
        "INST of a class of DCP": b"(" + text("a") + f"i{DCP}\nMetadataIndex\n".encode(),
        "OBJ of a class of DCP": b"(" + named(DCP, "MetadataIndex") + text("a") + b"o",
        "REDUCE of a class of DCP": named(DCP, "MetadataIndex") + text("a") + b"\x85R",
        "NEWOBJ with arguments": named(DCP, "MetadataIndex") + text("a") + b"\x85\x81",
        "NEWOBJ of a function": named("torch", "Size") + b")\x81",
        "NEWOBJ of a dtype": named("torch", "float32") + b")\x81",
        "REDUCE of an object": record("StorageMeta") + b")R",
        "REDUCE of a string": text("os.system") + touch + b"R",
        "REDUCE with a list": named("torch", "Size") + b"]R",
        "torch.load": named("torch", "load") + text(str(path)) + b"\x85R",
        "torch.hub": named("torch.hub", "load") + text(str(path)) + b"\x85R",
        "what torch imports": named("torch", "_dynamo"),
        "dotted name": named("torch", "serialization.os.system") + touch + b"R",
        "dotted STACK_GLOBAL": stack_named("torch", "serialization.os.system") + touch + b"R",
        "dotted name of a class of DCP": stack_named(DCP, "Metadata.__init__.__globals__"),
        "dotted module": stack_named("torch.serialization.os", "system") + touch + b"R",
        "module of DCP": stack_named(DCP, "os") + b"N\x93",
        "partial": named("functools", "partial") + named("os", "system") + touch + b"\x86R",
        "attrgetter": named("operator", "attrgetter") + text("system") + b"\x85R" + named("os", "path") + b"\x85R",
        "copyreg": named("copyreg", "_reconstructor") + named(DCP, "Metadata") + b"NN\x87R",
        "an import": named("antigravity", "fly"),
        "EXT1": b"\x82" + bytes([EXTENSION_CODE]) + touch + b"R",
        "EXT2": b"\x83" + struct.pack("<H", EXTENSION_CODE) + touch + b"R",
        "EXT4": b"\x84" + struct.pack("<I", EXTENSION_CODE) + touch + b"R",
        "persistent id": b"Pstorage\n",
        "binary persistent id": text("storage") + b"Q",
        "global named by a tuple": b"(ttN\x93",
        "global named by nothing": b"NN\x93",
        "global named by an object": record("Metadata") + text("a") + b"\x93",
        "out-of-band buffer": b"\x97\x98",
    }


@pytest.fixture
def cached_extension() -> Iterator[None]:
    """os.system as a pickle extension, in the cache that `pickle.Unpickler` looks into before it asks `find_class`."""
    copyreg.add_extension("os", "system", EXTENSION_CODE)
    assert pickle.loads(b"\x80\x02\x82" + bytes([EXTENSION_CODE]) + b".") is os.system
    yield
    copyreg.remove_extension("os", "system", EXTENSION_CODE)


@pytest.mark.usefixtures("cached_extension")
@pytest.mark.parametrize("name", calls(Path()))
def test_nothing_is_called(name: str, canary: Path):
    call = calls(canary)[name]
    for data in (metadata_with(call), b"\x80\x04" + call + b".", metadata_with(b"}(" + call + b"Nu")):
        for protocol in (2, 3, 4, 5):
            with pytest.raises((CorruptError, UnsupportedError)):
                load_metadata(b"\x80" + bytes([protocol]) + data[2:])


def test_the_attacks_are_real(tmp_path: Path):
    """pickle runs them."""
    names = ("os.system", "eval", "dotted STACK_GLOBAL", "INST", "OBJ", "subprocess by REDUCE")
    program = """
        import pickle, sys, torch.distributed.checkpoint
        for data in sys.argv[1:]:
            try:
                pickle.loads(bytes.fromhex(data))
            except Exception:
                pass
    """
    attacks = [metadata_with(calls(tmp_path / name)[name]).hex() for name in names]
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *attacks], check=True, timeout=60)
    for name in names:
        assert (tmp_path / name).exists()


BUILDS: dict[str, bytes] = {
    "a class": named(DCP, "MetadataIndex") + b"}" + text("__hash__") + b"Nsb",
    "a class by its slots": named(DCP, "MetadataIndex") + b"N}" + text("__hash__") + b"Ns\x86b",
    "a dtype": named("torch", "float32") + b"}" + text("x") + b"Nsb",
    "a function": named("torch", "Size") + b"}" + text("call") + b"Nsb",
    "a size": named("torch", "Size") + b")\x85R}" + text("x") + b"Nsb",
    "a list": b"]}" + text("x") + b"Nsb",
    "a dictionary": b"}}" + text("x") + b"Nsb",
    "a string": text("a") + b"}b",
    "None": b"N}b",
    "a path": named("pathlib", "PurePosixPath") + text("a") + b"\x85R}" + text("_parts") + b"Nsb",
    "with slots": record("MetadataIndex") + b"N}" + text("fqn") + text("a") + b"s\x86b",
    "with a list": record("MetadataIndex") + b"]b",
    "with a method": record("StorageMeta") + b"}" + text("__reduce__") + text("a") + b"sb",
    "with a class": record("StorageMeta") + b"}" + text("__class__") + named(DCP, "Metadata") + b"sb",
    "twice": (record("MetadataIndex") + b"}" + text("fqn") + text("a") + b"sb")
    + b"}"
    + text("fqn")
    + text("b")
    + b"sb",
    "metadata twice": record("Metadata") + b"}" + text("version") + b"Nsb}" + text("version") + b"Nsb",
    "properties twice": record("TensorProperties") + b"(tb",
    "properties with a string": record("TensorProperties") + text("abcde") + b"b",
}


def test_objects_without_fields():
    """Though another one is filled with nothing, twice."""
    nothing = record("StorageMeta") + b"}b}b"
    for name in ("TensorStorageMetadata", "MetadataIndex", "_StorageInfo"):
        module = "torch.distributed.checkpoint.filesystem" if name == "_StorageInfo" else DCP
        made = b"(" + nothing + named(module, name) + b")\x81t"
        for data in (metadata_with(made), metadata_with(b"}(" + text("a") + made + b"u", "state_dict_metadata")):
            with pytest.raises(CorruptError, match="without fields"):
                load_metadata(data)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.usefixtures("canary")
def test_nothing_is_changed(name: str):
    for data in (
        metadata_with(BUILDS[name]),
        metadata_with(BUILDS[name], "storage_data"),
        b"\x80\x04" + BUILDS[name] + b".",
    ):
        with pytest.raises((CorruptError, UnsupportedError)):
            load_metadata(data)


def test_what_changes_after_it_was_checked():
    """A container can be filled after the object that holds it was built."""
    metadata = small()
    tensor = metadata.state_dict_metadata["layer.weight"]
    assert isinstance(tensor, TensorStorageMetadata)
    (info,) = (info for info in metadata.storage_data.values() if info.transform_descriptors)
    for container, message in ((tensor.chunks, "chunk isn't one"), (info.transform_descriptors, "aren't strings")):
        vars(metadata)["later"] = container
        data = pickle.dumps(metadata)
        assert data.endswith(b"ub.")
        forged = data[:2] + data[11:-3] + b"K\x05aub."  # the list once more, five behind its end; without the frame
        assert pickle.loads(forged).later[-1] == 5
        with pytest.raises(CorruptError, match=message):
            load_metadata(forged)


# --- nothing is exhausted ---------------------------------------------------------------------------------------------


def colliding(count: int) -> bytes:
    """Items with different offsets of the same hash: n and n + 2**61 - 1 have one."""
    offsets = [[1 + (((1 << 61) - 1) * (number >> bit & 1)) for bit in range(16)] for number in range(count)]
    assert len({hash(tuple(offset)) for offset in offsets}) == 1
    return pickle.dumps(Metadata({}, None, {MetadataIndex("a", offset): None for offset in offsets}))


def bombs() -> dict[str, bytes]:
    huge = struct.pack("<Q", 1 << 40)
    size, path = named("torch", "Size"), named("pathlib", "PurePosixPath")
    many = b"](" + b"N" * 1000 + b"e" + put(0)
    return {
        "memo index of 4 billion": metadata_with(b"]" + put(0xFFFF_FFF0)),
        "memo index of 100 million": metadata_with(b"]" + put(100_000_000)),
        "BINUNICODE8": metadata_with(b"\x8d" + huge),
        "BINUNICODE": metadata_with(b"X" + b"\xff" * 4),
        "SHORT_BINUNICODE": b"\x80\x04\x8c\xff",
        "BINBYTES8": metadata_with(b"\x8e" + huge),
        "BINBYTES": metadata_with(b"B" + b"\xff" * 4),
        "BYTEARRAY8": metadata_with(b"\x96" + huge, protocol=5),
        "BINSTRING": metadata_with(b"T\xff\xff\xff\x7f"),
        "LONG4": metadata_with(b"\x8b\xff\xff\xff\x7f"),
        "LONG1": b"\x80\x04\x8a\xff",
        "LONG": metadata_with(b"L" + b"9" * 1_000_000 + b"L\n"),
        "INT": metadata_with(b"I" + b"9" * 1_000_000 + b"\n"),
        "FRAME": b"\x80\x04\x95" + struct.pack("<Q", (1 << 64) - 1),
        "a name without end": b"\x80\x04" + b"c" * 1_000_000,
        "nested tuples": metadata_with(b")" + b"\x85" * 500_000),
        "nested tuples as a key": metadata_with(b"})" + b"\x85" * 500_000 + b"Ns"),
        "nested tuples as a field": metadata_with(record("MetadataIndex") + b"})" + b"\x85" * 500_000 + b"Nsb"),
        "nested lists": metadata_with(b"]" * 500_000 + b"a" * 499_999),
        "nested dictionaries": metadata_with((b"}" + text("a")) * 200_000 + b"N" + b"s" * 200_000),
        "nested marks": metadata_with(b"(" * 500_000 + b"t" * 500_000),
        "tuples of tuples": metadata_with(laughing()),
        "tuples of tuples as a key": metadata_with(b"}" + laughing() + b"Ns"),
        "tuples of tuples as a set": metadata_with(b"\x8f(" + laughing() + b"\x90"),
        "a list in itself": metadata_with(b"]" + put(0) + get(0) + b"a"),
        "a list in two thousand": metadata_with(b"](" + many + get(0) * 2000 + b"e"),
        "a large size": metadata_with(size + b"(" + b"K\x01" * 100_000 + b"t\x85R"),
        "a long path": metadata_with(path + text("x" * 1_000_000) + b"\x85R"),
        "a path of many parts": metadata_with(path + b"(" + text("") + put(0) + get(0) * 100_000 + b"tR"),
        "a path of a large part": metadata_with(path + b"(" + text("x" * 100_000) + put(0) + get(0) * 100_000 + b"tR"),
        "many paths": metadata_with(
            b"(" + path + put(0) + text("x" * 30_000) + b"\x85" + put(1) + (get(0) + get(1) + b"R") * 100_000 + b"t"
        ),
        "offsets of one hash": colliding(100),
        "a high stack": b"\x80\x04" + b"N" * 1_000_000,
        "many lists": b"\x80\x04" + b"]" * 5_000_000,
        "less than nothing": b"\x80\x04" + b"\x86" * 100,
        "fields of a million": metadata_with(
            record("StorageMeta") + b"}(" + b"".join(text(f"{n:x}") + b"N" for n in range(100_000)) + b"ub"
        ),
    }


CHILD = """
    import json, resource, sys, time
    from dcpx import DcpxError
    from dcpx.dcp.metadata import load_metadata

    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
    for path in sys.argv[2:]:
        data = open(path, "rb").read()
        begin = time.process_time()
        try:
            load_metadata(data)
            outcome = "loaded"
        except DcpxError as error:
            outcome = type(error).__name__
            assert len(str(error)) < 1000
        print(json.dumps([path, outcome, time.process_time() - begin]), flush=True)
"""


def test_nothing_is_exhausted(tmp_path: Path):
    """In 256 MiB and less than a minute each, without an error of another kind and without a crash."""
    for number, data in enumerate(bombs().values()):
        (tmp_path / str(number)).write_bytes(data)
    paths = [str(tmp_path / str(number)) for number in range(len(bombs()))]
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(256 << 20), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (list(bombs())[len(outcomes)], done.stderr[-2000:])
    for name, (_, outcome, seconds) in zip(bombs(), outcomes, strict=True):
        assert outcome in ("CorruptError", "TruncatedError", "UnsupportedError", "LimitError"), name
        assert seconds < 60, (name, seconds)
    assert dict(zip(bombs(), (outcome for _, outcome, _ in outcomes), strict=True))["many lists"] == "LimitError"


# --- nothing passes by accident ---------------------------------------------------------------------------------------


def outcome(data: bytes) -> str:
    """What reading this ends in: "loaded", or what the error says."""
    try:
        assert type(load_metadata(data)) is Metadata
    except (CorruptError, UnsupportedError, LimitError) as error:
        return str(error)
    return "loaded"


def test_every_opcode():
    """Those that DCP doesn't write are refused by name, wherever they stand and whatever follows."""
    known = set()
    for opcode in pickletools.opcodes:
        for argument in (b"", b"\0" * 8, b"1\n1\n", text("a")):
            if f"opcode {opcode.name}," not in outcome(metadata_with(b"]" + opcode.code.encode("latin-1") + argument)):
                known.add(opcode.name)
    expected = """
        MEMOIZE BINGET LONG_BINGET BINPUT LONG_BINPUT BININT1 BININT2 BININT LONG1 BINFLOAT NONE NEWTRUE NEWFALSE
        SHORT_BINUNICODE BINUNICODE MARK EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE EMPTY_LIST APPEND APPENDS EMPTY_DICT
        SETITEM SETITEMS GLOBAL STACK_GLOBAL NEWOBJ REDUCE BUILD FRAME STOP
    """
    assert known == set(expected.split())
    for byte in set(range(256)) - {ord(opcode.code) for opcode in pickletools.opcodes}:
        with pytest.raises(CorruptError, match="no opcode"):
            load_metadata(metadata_with(bytes([byte])))


def test_every_bit():
    """A flipped bit gives other metadata, sound in itself, or a typed error; that it flipped, only a hash can tell."""
    data = pickle.dumps(small())
    outcomes = []
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            outcomes.append(outcome(bytes(damaged)))
    assert max(map(len, outcomes)) < 1000
    assert 0 < outcomes.count("loaded") < len(outcomes) / 3
    assert load_metadata(data) == small()
