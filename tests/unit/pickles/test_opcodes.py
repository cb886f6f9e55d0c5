"""The machine that both readers of pickles share, where they differ: places of the memo, protocols, whole pickles."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any

import pytest

from dcpx import CorruptError, DcpxError, UnsupportedError
from dcpx.pickles.archive import Archive
from dcpx.pickles.opcodes import LEFT_OUT, LeftOutError
from dcpx.pickles.torch_pickle import foresee
from dcpx.pickles.unpickle import Unpickler


def foreseen(pickled: bytes) -> Any:
    return foresee(pickled, Archive(io.BytesIO(), {}, {})).made


def unpickled(pickled: bytes) -> Any:
    return Unpickler(pickled, {}).load()


PUT, LONG_PUT = b"q", b"r"


def kept_at(index: int, put: bytes) -> bytes:
    return put + (bytes([index]) if put == PUT else struct.pack("<I", index))


@pytest.mark.parametrize(
    "value", [[1, 70_000, -1, 1 << 70, 2.5, None, True, False, "é"], ((1,), (1, 2), (1, 2, 3), ())]
)
def test_both_make_the_same(value: object):
    pickled = pickle.dumps(value, 2)
    assert foreseen(pickled) == unpickled(pickled) == pickle.loads(pickled) == value


@pytest.mark.parametrize("put", [PUT, LONG_PUT])
def test_places_of_the_memo(put: bytes):
    """A pickler numbers what it keeps. What a container has otherwise is followed; in a metadata file it is refused."""
    for index in (1, 7):
        pickled = b"\x80\x02](K\x05" + kept_at(index, put) + b"h" + bytes([index]) + b"K\6" + kept_at(0, put) + b"h\0e."
        assert foreseen(pickled) == pickle.loads(pickled) == [5, 5, 6, 6]
        with pytest.raises(CorruptError, match="out of order"):
            unpickled(pickled)
        with pytest.raises(CorruptError):  # of a place that was left between
            foreseen(b"\x80\x02](K\x05" + kept_at(index, put) + b"h\0e.")
    again = b"\x80\x02](K\x05" + kept_at(0, put) + b"K\6" + kept_at(0, put) + b"h\0e."
    assert foreseen(again) == pickle.loads(again) == [5, 6, 6]
    with pytest.raises(CorruptError, match="out of order"):
        unpickled(again)


def test_a_place_that_costs_memory():
    with pytest.raises(CorruptError, match="remembers more"):
        foreseen(b"\x80\x02N" + kept_at(1 << 31, LONG_PUT) + b".")
    assert foreseen(b"\x80\x02N" + kept_at(255, PUT) + b".") is None


def test_what_is_left_out():
    reader = Unpickler(b"\x80\x02](h\0e.", {})
    reader.memo.append(LEFT_OUT)
    with pytest.raises(LeftOutError):
        reader.load()


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_protocols(protocol: int):
    value = ["text", 5]
    assert unpickled(pickle.dumps(value, protocol)) == value
    with pytest.raises(UnsupportedError, match="protocol 2"):
        foreseen(pickle.dumps(value, protocol))


def test_opcodes_of_one_reader_only():
    """Each refuses by name what only the other's writer writes, whatever operand follows."""

    def known(read: Callable[[bytes], object]) -> set[str]:
        words = {opcode.name: b"\x80\x02]" + opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
        return {name for name, pickled in words.items() if f"opcode {name}," not in outcome(read, pickled + bytes(8))}

    of_metadata, of_torch = known(unpickled), known(foreseen)
    assert of_metadata - of_torch == {"MEMOIZE", "SHORT_BINUNICODE", "STACK_GLOBAL", "FRAME"}
    assert of_torch - of_metadata == {"LONG4", "BINPERSID", "EMPTY_SET"}


def outcome(read: Callable[[bytes], object], pickled: bytes) -> str:
    try:
        return f"made {read(pickled)}"
    except DcpxError as error:
        return str(error)
