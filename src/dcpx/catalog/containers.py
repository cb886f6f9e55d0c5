"""Items through their extensions' streams: what they hold, as stock DCP reads it.

For whatever the direct path doesn't know: stock checkpoints, other extensions, objects, tensors that are more than
elements.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import IO, cast

from ..errors import LimitError
from ..extension import Extension, StreamTransformExtension
from ..extensions.chain import Chain
from ..frame import frame_of
from ..located import extension_errors
from ..registry import ExtensionRegistry
from ..streams import TransformReader, read_exactly
from .items import StoredItem
from .limits import limits_remedy

__all__ = ["open_item", "read_object", "read_up_to"]

_STEP = 1 << 20
"""Bytes that are read at once where nobody knows how many there are."""


def read_object(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, limit: int) -> bytes:
    """An object's bytes. LimitError for more than `limit`, of which no more are ever held."""
    try:
        with extension_errors():
            whole = read_up_to(open_item(stored, item, registry, limit), limit)
        if whole.tell() > limit:
            raise LimitError(f"the object unfolds into more than {limit} bytes, of {item.info.length} that are stored")
    except LimitError as error:
        raise LimitError(error.cause, error.where, limits_remedy("object_size", "object_ratio")) from None
    return whole.getvalue()


def read_up_to(content: IO[bytes], most: int) -> io.BytesIO:
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
