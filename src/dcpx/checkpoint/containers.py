"""The container path: an item through its extensions' streams and `torch.load`, as stock DCP reads it.

For whatever the direct path doesn't know: stock checkpoints, other extensions, tensors that are more than elements.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

import torch

from ..errors import CorruptError, DcpxError, LimitError, LoadError, Where
from ..extension import Extension, StreamTransformExtension
from ..extensions.chain import Chain
from ..frame import frame_of
from ..registry import ExtensionRegistry
from ..streams import TransformReader, read_exactly
from ._archive import PICKLE, Archive, open_archive
from ._torch_calls import TENSOR, Tensor
from ._torch_pickle import by_name, check_names, foresee
from .items import StoredItem
from .limits import limits_remedy
from .targets import Target

__all__ = ["check_container", "fill_from_container", "located", "open_item", "read_object"]

_MOST_PICKLE = 256 << 10
"""Bytes of a tensor's pickle. What isn't elements is a few hundred, or a few thousand of a class with more of them."""

_ALLOW = "If you trust where the checkpoint comes from, pass its class to torch.serialization.add_safe_globals"

_STEP = 1 << 20
"""Bytes that are read at once where nobody knows how many there are."""


def read_object(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, limit: int) -> bytes:
    """An object's bytes. LimitError for more than `limit`, of which no more are ever held."""
    try:
        whole = _read_up_to(open_item(stored, item, registry, limit), limit)
        if whole.tell() > limit:
            raise LimitError(f"the object unfolds into more than {limit} bytes, of {item.info.length} that are stored")
    except LimitError as error:
        raise LimitError(error.cause, error.where, limits_remedy("object_size", "object_ratio")) from None
    return whole.getvalue()


def fill_from_container(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, targets: list[Target]) -> int:
    """Load the whole tensor and copy to every target what it wants; returns how many bytes that were."""
    limit = item.most_bytes
    content = open_item(stored, item, registry, limit)
    if not content.seekable():
        content = _read_up_to(content, limit)
    if content.seek(0, os.SEEK_END) > limit:
        raise CorruptError(f"the item unfolds into more than {limit} bytes, which its shape doesn't need")
    archive = check_container(content)
    content.seek(0)
    if archive.used:
        content = _read_up_to(content, limit)
        archive.cut(content)
    loaded = _load(content)
    if not isinstance(loaded, torch.Tensor):
        raise CorruptError(f"a tensor was expected, a {type(loaded).__name__} is stored")
    if loaded.shape != item.shape:
        raise CorruptError(f"the stored tensor is {tuple(loaded.shape)}, the metadata says {tuple(item.shape or ())}")
    if loaded.dtype != item.dtype:
        raise CorruptError(f"the stored tensor is {loaded.dtype}, the metadata says {item.dtype}")
    return sum(target.fill_from(loaded) for target in targets)


def check_container(content: IO[bytes]) -> Archive:
    """The archive in a tensor's container; one that torch must not load is refused. Of the elements nothing is read.

    It may name classes that were given to `torch.serialization.add_safe_globals`, but for those that torch itself put
    there: DCP stores none of them.
    """
    archive = open_archive(content)
    pickled = archive.read(PICKLE, _MOST_PICKLE)
    try:
        found = foresee(pickled, archive)
    except LimitError as error:
        raise CorruptError(f"{error.cause}, which no tensor needs") from None
    allowed: dict[str, object] = {}
    if found.names:
        known = by_name(torch.serialization.get_safe_globals())
        allowed = {name: value for name, value in known.items() if not name.startswith("torch.")}
    check_names(found, "the tensor", allowed, _ALLOW)
    made = found.made
    if found.sparse or (type(made) is not Tensor and made is not TENSOR):
        raise CorruptError("what is stored is no tensor that DCP stores")
    if type(made) is Tensor and made.shares:
        raise CorruptError(f"the tensor has {made.nbytes} bytes, of which {made.storage_bytes} are stored")
    return archive


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

    def _fill(self, buffer: memoryview) -> int:
        data = read_exactly(self._input, min(len(buffer), _STEP))
        self._left -= len(data)
        if self._left < 0:
            raise LimitError(f"a transform of the item unfolds into more than {self._most} bytes")
        buffer[: len(data)] = data
        return len(data)


def _load(content: IO[bytes]) -> object:
    try:
        return torch.load(content, map_location="cpu", weights_only=True, mmap=False)
    except BaseException as error:
        # torch may report another error in the place of the stream's own, even of an interrupt.
        failure = getattr(frame_of(content), "failure", None)
        if failure is not None and failure is not error:
            raise failure from None
        if isinstance(error, _REFUSED):
            raise CorruptError(f"the item can't be loaded: {error!r:.200}") from error
        raise


_REFUSED = (ArithmeticError, AssertionError, AttributeError, TypeError)
"""What torch's functions say of arguments of a wrong kind."""

_DAMAGED = (RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError)
"""What torch says of a damaged container."""


@contextmanager
def located(file: str, item: str | None) -> Iterator[None]:
    """Errors of reading a file or, where it is named, an item: typed, and naming both."""
    try:
        yield
    except DcpxError as error:
        raise error.located(file, item) from error.__cause__
    except Exception as error:
        if item is not None and isinstance(error, _DAMAGED):
            raise CorruptError(f"the item can't be loaded: {error}", Where(file, item)) from error
        raise LoadError(f"{type(error).__name__}: {error}", Where(file, item)) from error
