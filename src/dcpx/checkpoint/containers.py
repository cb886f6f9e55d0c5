"""The container path: an item through its extensions' streams and `torch.load`, as stock DCP reads it.

For whatever the direct path doesn't know: stock checkpoints, other extensions, tensors that are more than elements.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO, cast

import torch

from ..errors import CorruptError, DcpxError, LimitError, LoadError, UnsupportedError, Where
from ..extension import Extension, StreamTransformExtension
from ..extensions.chain import Chain
from ..frame import frame_of
from ..registry import ExtensionRegistry
from ..streams import TransformReader, read_exactly
from ._archive import PICKLE, Archive, open_archive
from ._safe_list import also_allowed
from ._torch_calls import TENSOR, Tensor
from ._torch_pickle import SafeGlobal, by_name, check_names, foresee
from .items import StoredItem
from .kept import Held, Kept
from .limits import limits_remedy
from .protection import Trust
from .targets import Target

__all__ = [
    "check_container",
    "check_pickle",
    "classes_of",
    "damage_told",
    "fill_from_container",
    "located",
    "open_item",
    "read_object",
]

_MOST_PICKLE = 256 << 10
"""Bytes of a tensor's pickle. What isn't elements is a few hundred, or a few thousand of a class with more of them."""

_ALLOW = (
    "Load it into a tensor of the class that was saved; or, if you trust where the checkpoint comes from, pass "
    "safe_globals=[...] with these, or trust=True"
)
_OTHER_VERSION = "Load it with the versions of torch, and of its class, that it was saved with"
_NOT_STORED = "Store what it is made of as tensors of their own"

_STEP = 1 << 20
"""Bytes that are read at once where nobody knows how many there are."""


def read_object(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, limit: int) -> bytes:
    """An object's bytes. LimitError for more than `limit`, of which no more are ever held."""
    try:
        with damage_told():
            whole = _read_up_to(open_item(stored, item, registry, limit), limit)
        if whole.tell() > limit:
            raise LimitError(f"the object unfolds into more than {limit} bytes, of {item.info.length} that are stored")
    except LimitError as error:
        raise LimitError(error.cause, error.where, limits_remedy("object_size", "object_ratio")) from None
    return whole.getvalue()


def fill_from_container(
    stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, targets: list[Target], trust: Trust
) -> int:
    """Load the whole tensor and copy to every target what it wants; returns how many bytes that were."""
    limit = item.most_bytes
    with damage_told():
        content, size = _steady(open_item(stored, item, registry, limit), limit)
    if size > limit:
        raise CorruptError(f"the item unfolds into more than {limit} bytes, which its shape doesn't need")
    classes = {cls for target in targets for cls in classes_of(target.tensor)}
    with damage_told():
        loaded = _load(content, trust, classes, limit)
    if not isinstance(loaded, torch.Tensor):
        raise CorruptError(f"a tensor was expected, a {type(loaded).__name__} is stored")
    _check_described(loaded.dtype, loaded.shape, item)
    return sum(target.fill_from(loaded) for target in targets)


def classes_of(tensor: torch.Tensor) -> set[type]:
    """The classes of a tensor, and of those that it says it is made of."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    inner = (getattr(tensor, name) for name in flatten()[0]) if flatten is not None else ()
    return {type(tensor), *(cls for part in inner if isinstance(part, torch.Tensor) for cls in classes_of(part))}


def check_container(
    content: IO[bytes],
    trust: Trust = Trust(),  # noqa: B008 (immutable)
    classes: Iterable[type] = (),
    item: StoredItem | None = None,
) -> None:
    """Refuse a tensor's container that torch must not load, or that holds another tensor than the metadata says of the
    `item`; of the elements nothing is read.

    What it may name is said at `check_pickle`. Raises CorruptError for what torch.save doesn't write, UnsupportedError.
    """
    _check(open_archive(content), trust, classes, item)


def _check(
    archive: Archive, trust: Trust, classes: Iterable[type], item: StoredItem | None = None
) -> dict[str, object]:
    """What of `trust` and `classes` torch must be told of, by name, to load the archive's tensor."""
    if trust.all:
        return {}
    if archive.size(PICKLE) > _MOST_PICKLE:
        cause = f"the tensor's pickle has {archive.size(PICKLE)} bytes, more than {_MOST_PICKLE}"
        raise UnsupportedError(cause, remedy="Store what isn't elements as an object of its own")
    return check_pickle(archive.read(PICKLE, _MOST_PICKLE), archive, trust.safe_globals, classes, item)


def check_pickle(
    pickled: bytes,
    archive: Archive,
    safe_globals: Sequence[SafeGlobal],
    classes: Iterable[type],
    item: StoredItem | None = None,
) -> dict[str, object]:
    """Refuse a tensor's pickle that torch must not load; returns what torch must be told of to load it, by name.

    It may name what was given to `torch.serialization.add_safe_globals`, but for what torch itself put there (DCP
    stores none of that), `safe_globals`, and `classes`, those of the tensors that it is loaded into: their code runs
    in any case when they are filled, and they are made of nothing but what else is allowed.
    """
    try:
        found = foresee(pickled, archive)
    except LimitError as error:
        raise UnsupportedError(f"{error.cause}, which no tensor needs", remedy=_NOT_STORED) from None
    given: dict[str, object] = {}
    if found.names:
        known = by_name(torch.serialization.get_safe_globals())
        known = {name: value for name, value in known.items() if not name.startswith("torch.")}
        given = by_name([*classes, *safe_globals])
        check_names(found, "the tensor", known | given, _ALLOW)
        given = {name: given[name] for name in found.names if name not in known}
    made = found.made
    if found.sparse:
        raise UnsupportedError("a sparse tensor can't be loaded", remedy="Store its indices and values, or to_dense()")
    if type(made) is not Tensor and made is not TENSOR:
        raise UnsupportedError("what is stored is no tensor that can be loaded", remedy=_NOT_STORED)
    if type(made) is Tensor and made.shares:
        cause = f"the tensor has {made.nbytes} bytes, of which {made.storage_bytes} are stored"
        raise UnsupportedError(cause, remedy="Store a copy of it, whose elements share nothing")
    if type(made) is Tensor and item is not None:
        _check_described(made.dtype, made.shape, item)
    return given


def _check_described(dtype: torch.dtype, shape: tuple[int, ...], item: StoredItem) -> None:
    """CorruptError unless the stored tensor is the one that the metadata describes."""
    if shape != item.shape:
        raise CorruptError(f"the stored tensor is {tuple(shape)}, the metadata says {tuple(item.shape or ())}")
    if dtype != item.dtype:
        raise CorruptError(f"the stored tensor is {dtype}, the metadata says {item.dtype}")


def _steady(content: IO[bytes], most: int) -> tuple[IO[bytes], int]:
    """The same content as a stream that stays as it is checked, whatever becomes of the file, and its size, which is
    no more than a byte above `most` where it isn't known beforehand."""
    if content.seekable():
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        if isinstance(content, (io.BytesIO, Held)):
            return content, size
        if size > _STEP:
            return cast(IO[bytes], Kept(content, size)), size
    held = _read_up_to(content, most)
    return held, held.tell()


def _load(content: IO[bytes], trust: Trust, classes: Iterable[type], most: int) -> object:
    """The tensor in `content`: torch finds there what was checked."""
    with content.keeping() if isinstance(content, Kept) else nullcontext():
        archive = open_archive(content)
        given = _check(archive, trust, classes)
    content.seek(0)
    if archive.used:
        whole = _read_up_to(content, most)
        archive.cut(whole)
        content = whole
    try:
        with also_allowed(given) if given else nullcontext():
            return torch.load(content, map_location="cpu", weights_only=not trust.all, mmap=False)
    except (DcpxError, MemoryError):
        raise
    except Exception as error:
        failure = getattr(content, "failure", None)
        if failure is not None:  # torch may report another error in the place of the stream's own
            raise failure from None
        archive.check_crc32()
        cause = f"torch doesn't load the tensor: {type(error).__name__}: {error!s:.200}"
        raise UnsupportedError(cause, remedy=_OTHER_VERSION) from error


def _read_up_to(content: IO[bytes], most: int) -> io.BytesIO:
    """All that is left to read, or a byte more than `most` where there is more; nothing beyond that is held."""
    whole = io.BytesIO()
    while whole.tell() <= most and (part := read_exactly(content, min(_STEP, most + 1 - whole.tell()))):
        whole.write(part)
    return whole


def open_item(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, most: int) -> IO[bytes]:
    """The item's content: its transforms undone, the last one applied when writing first.

    A frame that holds more than `most` bytes is refused at once. What lies between two transforms may be twice as much:
    a few bytes could otherwise stand for years of reading, though nothing comes of it.
    """
    extensions = list(_flat(registry.from_descriptor_list(item.info.transform_descriptors or ())))
    between = 2 * most + _STEP
    content = stored
    # DCP's writer stores the descriptors of several extensions in the order in which they saw the data.
    for number, extension in reversed(list(enumerate(extensions))):
        content = extension.transform_from(content)
        frame = frame_of(content)
        if frame is not None:
            item.check_identity(frame.header)
            frame.limit_total(between if number else most)
        elif number:
            content = cast(IO[bytes], _Bounded(content, between))
    return content


def _flat(extensions: Sequence[Extension]) -> Iterator[StreamTransformExtension]:
    for extension in extensions:
        if isinstance(extension, Chain):
            yield from _flat(extension.extensions)
        else:
            yield cast(StreamTransformExtension, extension)  # the registry hands out no others


class _Bounded(TransformReader):
    """A stream that may have no more than `most` bytes."""

    def __init__(self, input: IO[bytes], most: int) -> None:
        super().__init__(input)
        self.base_stream = input
        self._most = self._left = most

    def fill(self, buffer: memoryview) -> int:
        data = read_exactly(self.input, min(len(buffer), _STEP))
        self._left -= len(data)
        if self._left < 0:
            raise LimitError(f"a transform of the item unfolds into more than {self._most} bytes")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def damage_told() -> Iterator[None]:
    """In a block that reads through extensions: by ValueError or EOFError they say that what they read is damaged."""
    try:
        yield
    except DcpxError:
        raise
    except (ValueError, EOFError) as error:
        raise CorruptError(f"an extension can't read the item: {type(error).__name__}: {error}") from error


@contextmanager
def located(file: str, item: str | None) -> Iterator[None]:
    """Errors of reading a file or, where it is named, an item: typed, and naming both.

    Only what has been found to be damage is called so, by a CorruptError; an error of any other kind is a LoadError.
    """
    try:
        yield
    except DcpxError as error:
        raise error.located(file, item) from error.__cause__
    except Exception as error:
        raise LoadError(f"{type(error).__name__}: {error}", Where(file, item)) from error
