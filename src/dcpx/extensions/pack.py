"""`stream.pack@dcpx/1`: each item as a dcpx frame, cut into checked chunks that are coded one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import IO, NamedTuple, cast

from .. import kernels
from ..codecs import Encoder, Lanes
from ..codecs.auto import Auto, Smallest
from ..codecs.dtypes import ITEM_SIZES, lanes_of
from ..codecs.planes import Planes
from ..codecs.raw import Raw
from ..codecs.zstd import Zstd
from ..errors import UnsupportedError
from ..extension import Item, StreamTransformExtension
from ..frame import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MIN_CHUNK_SIZE,
    Coding,
    FrameWriter,
    Header,
    ItemKey,
    Limits,
    TensorHint,
    open_frame,
    shell,
)
from ..frame.container import storage_dtype

__all__ = ["Choice", "Pack", "item_key"]

_ENCODERS: dict[str, dict[str, Encoder]] = {
    "auto": {"fast": Auto(), "small": Auto(small=True)},
    "planes": {"fast": Smallest(Planes()), "small": Smallest(Planes(), Planes(level=9))},
    "zstd": {"fast": Smallest(Zstd()), "small": Smallest(Zstd(), Zstd(level=9))},
    "raw": {"fast": Smallest(), "small": Smallest()},
}
_LEVELS = ("fast", "small")
_LONGEST_NAME = 8192
_MOST_DIMENSIONS = 254


class Choice(NamedTuple):
    """How an item is stored: its frame's header, and what codes a tensor's elements and all else."""

    header: Header
    elements: Encoder
    rest: Encoder

    def coding(self, dtype: str | None, payload: memoryview) -> Coding:
        """How a large piece of the item is coded: by its elements' dtype, or by what its bytes look like."""
        if dtype in ITEM_SIZES:
            return Coding(self.elements, lanes_of(dtype))
        lanes = Lanes(*kernels.sniff_lane(payload))
        return Coding(self.elements, lanes) if lanes.width > 1 else Coding(self.rest)


class Pack(StreamTransformExtension):
    """Stores items smaller, with checksums, and readable from any offset.

    `codec` is "auto" (float-aware coding by dtype, or Zstandard where data repeats itself), "planes" (byte planes and
    Zstandard), "zstd" or "raw" (checksums only); what doesn't get smaller is stored as it is. `level` is "fast", or
    "small" for a little less room at several times the time. `policy`, where given, is called for each item that
    `dcpx.Writer` stores (the stock writer doesn't tell); it returns a codec or a level for it, or None for these. The
    `Item` has its name and, for a tensor, torch's name of the dtype, such as "float32", and the shape of this rank's
    shard; an object has None for both.

    `chunk_size` is in raw bytes, a multiple of 4096. `limits` holds when reading. Through the stock writer, chunks are
    coded on a pool of as many threads as there are cores, at most 16 of them in memory at once; `dcpx.Writer` goes by
    its own `threads` and `budget`.
    """

    def __init__(
        self,
        codec: str = "auto",
        *,
        level: str = "fast",
        policy: Callable[[Item], str | None] | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        limits: Limits | None = None,
    ) -> None:
        if limits is not None and not isinstance(limits, Limits):
            raise ValueError(f"limits must be Limits or None, not {limits!r}")
        if not isinstance(chunk_size, int):
            raise ValueError(f"chunk_size must be an integer, not {chunk_size!r}")
        if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE or chunk_size % MIN_CHUNK_SIZE:
            raise ValueError(
                f"chunk_size must be a multiple of {MIN_CHUNK_SIZE} up to {MAX_CHUNK_SIZE}, not {chunk_size}"
            )
        self.codec = _checked("codec", codec, _ENCODERS)
        self.level = _checked("level", level, _LEVELS)
        if policy is not None and not callable(policy):
            raise ValueError(f"policy must be a function of an item, not {policy!r}")
        self.policy = policy
        self.chunk_size = chunk_size
        self.limits = limits

    def __repr__(self) -> str:
        defaults = {"codec": "auto", "level": "fast", "policy": None, "chunk_size": DEFAULT_CHUNK_SIZE, "limits": None}
        given = (f"{name}={vars(self)[name]!r}" for name, usual in defaults.items() if vars(self)[name] != usual)
        return f"Pack({', '.join(given)})"

    @staticmethod
    def registry_name() -> str:
        return "stream.pack@dcpx"

    @staticmethod
    def from_descriptor(version: str) -> Pack:
        if version != "1":
            raise UnsupportedError(
                f"version {version!r} of extension {Pack.registry_name()!r} is not known here, only '1'"
            )
        return Pack()

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return self._writer(output, None)

    def transform_item_to(self, output: IO[bytes], item: Item) -> IO[bytes]:
        return self._writer(output, item)

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return shell(open_frame(input, self.limits))

    def choose(self, item: Item | None) -> Choice:
        """How `item` is stored: what `transform_item_to` does, for a writer that cuts and encodes chunks itself."""
        elements, rest, codecs = self.encoders(item)
        header = Header(
            chunk_size=self.chunk_size,
            codecs=codecs,
            key=None if item is None else item_key(item.fqn, item.offsets),
            hint=None if item is None else _hint(item),
            checkpoint=None if item is None else item.checkpoint,
        )
        return Choice(header, elements, rest)

    def encoders(self, item: Item | None) -> tuple[Encoder, Encoder, tuple[int, ...]]:
        """What codes an item's elements and all else, and the ids of all codecs that these may choose. Without a policy
        that is the same for every item."""
        return _encoders(*self._choose(item))

    def _writer(self, output: IO[bytes], item: Item | None) -> IO[bytes]:
        choice = self.choose(item)

        def payload_coding(before: bytes, payload: memoryview) -> Coding:
            dtype = storage_dtype(before) if item is None or item.dtype is None else item.dtype
            return choice.coding(dtype, payload)

        return cast(IO[bytes], FrameWriter(output, choice.header, Coding(choice.rest), payload_coding))

    def _choose(self, item: Item | None) -> tuple[str, str]:
        """The codec and level for an item: what the policy says, else this Pack's own."""
        choice = None if self.policy is None or item is None else self.policy(item)
        if choice is None:
            return self.codec, self.level
        _checked("a policy's choice", choice, (*_ENCODERS, *_LEVELS))
        return (self.codec, choice) if choice in _LEVELS else (choice, self.level)


@cache
def _encoders(codec: str, level: str) -> tuple[Encoder, Encoder, tuple[int, ...]]:
    """What codes elements and all else, and the ids of all codecs that these may choose."""
    elements, rest = _ENCODERS[codec][level], _ENCODERS["raw" if codec == "raw" else "zstd"][level]
    return elements, rest, tuple(sorted({Raw.id, *elements.writes, *rest.writes}))


def _checked(name: str, value: str, allowed: Collection[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def item_key(fqn: str, offsets: tuple[int, ...] | None) -> ItemKey | None:
    """The item's name, unless it is too long for a header, which does without it then."""
    too_long = len(fqn) > _LONGEST_NAME or len(offsets or ()) > _MOST_DIMENSIONS
    return None if too_long else ItemKey(fqn, offsets)


def _hint(item: Item) -> TensorHint | None:
    if item.dtype not in ITEM_SIZES or item.shape is None or not item.contiguous:
        return None
    if len(item.shape) > _MOST_DIMENSIONS:
        return None
    return TensorHint(item.dtype, item.shape, 0)
