"""`stream.chain@dcpx/1:...`: several extensions in a row under one descriptor.

torch's writer and reader disagree about the order of several extensions, so that two of them never load back. One
extension that contains the others has no order to disagree about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO, cast
from urllib.parse import quote, unquote_to_bytes

from ..descriptor import Descriptor
from ..errors import ExtensionError, UnsupportedError
from ..extension import Extension, Item, Registry, StreamTransformExtension
from ..registry import default_registry, is_stream_transform
from ..streams import TransformWriter, write_all

__all__ = ["Chain"]

# Descriptors stand in the version separated by commas; these characters stay readable, all others are %-escaped.
_READABLE = "/@:+"


class Chain(StreamTransformExtension):
    """Applies `extensions` in data-flow order: the first one sees the data first when writing, last when reading.

    `Chain(Rot13(), ZStandard())` stores compressed rot13. A chain may hold chains; an empty one changes nothing.
    Raises ExtensionError (a ValueError) for what can't be applied to a stream.
    """

    def __init__(self, *extensions: StreamTransformExtension) -> None:
        for extension in extensions:
            if not is_stream_transform(extension):
                raise ExtensionError(f"{extension!r} can't be chained: it is no StreamTransformExtension")
            Descriptor.parse(extension.get_descriptor())
        self.extensions = extensions
        Descriptor.parse(self.get_descriptor())  # what can't be read back is refused before anything is written

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.extensions))})"

    @property
    def encrypts(self) -> bool:
        """Whether any of the extensions does."""
        return any(getattr(extension, "encrypts", False) for extension in self.extensions)

    @staticmethod
    def registry_name() -> str:
        return "stream.chain@dcpx"

    @staticmethod
    def from_descriptor(version: str) -> Chain:
        return Chain.from_descriptor_in(version, default_registry())

    @classmethod
    def from_descriptor_in(cls, version: str, registry: Registry) -> Chain:
        number, _, inner = version.partition(":")
        if number != "1":
            raise UnsupportedError(
                f"version {number!r} of extension {cls.registry_name()!r} is not known here, only '1'"
            )
        return cls(*_stream_transforms(registry.from_descriptor_list(_split(inner))))

    def get_descriptor(self) -> str:
        inner = ",".join(quote(extension.get_descriptor(), safe=_READABLE) for extension in self.extensions)
        return f"{self.registry_name()}/1:{inner}"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return self._open(output, None)

    def transform_item_to(self, output: IO[bytes], item: Item) -> IO[bytes]:
        return self._open(output, item)

    def _open(self, output: IO[bytes], item: Item | None) -> IO[bytes]:
        streams: list[IO[bytes]] = []
        flat = list(self._flat())
        for position, extension in reversed(list(enumerate(flat))):
            transform_item_to = getattr(extension, "transform_item_to", None)
            if item is None or transform_item_to is None:
                output = extension.transform_to(output)
            else:
                # Only the first extension sees the item as it is; what the others see has its name alone.
                known = item if position == 0 else replace(item, dtype=None, shape=None, contiguous=False)
                output = transform_item_to(output, known)
            streams.append(output)
        if all(isinstance(stream, TransformWriter) for stream in streams):
            return output
        return cast(IO[bytes], _ChainWriter(output, streams))

    def _flat(self) -> Iterator[StreamTransformExtension]:
        for extension in self.extensions:
            if isinstance(extension, Chain):
                yield from extension._flat()
            else:
                yield extension

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        for extension in reversed(self.extensions):
            input = extension.transform_from(input)
        return input


class _ChainWriter(TransformWriter):
    """Stands above streams of which some aren't dcpx's own.

    Such a stream may close the one beneath it whatever happened before, so after an error those that are dcpx's own are
    abandoned first; or not at all, so what is still open is closed here.
    """

    def __init__(self, output: IO[bytes], streams: list[IO[bytes]]) -> None:
        super().__init__(output)
        self._streams = streams

    def transform(self, data: memoryview) -> None:
        write_all(self.output, data)

    def close(self) -> None:
        was_closed = self.closed
        super().close()
        for stream in reversed(self._streams):
            if not was_closed and not stream.closed:
                stream.close()

    def abandon(self, error: BaseException | None = None) -> None:
        if self.closed:
            return
        super().abandon(error)
        for stream in self._streams:
            if isinstance(stream, TransformWriter):
                stream.abandon(self.failure)


def _split(inner: str) -> list[str]:
    try:
        return [unquote_to_bytes(part).decode() for part in inner.split(",")] if inner else []
    except UnicodeDecodeError as error:
        raise ExtensionError(f"{inner!r} is no list of descriptors: {error}") from error


def _stream_transforms(extensions: Sequence[Extension]) -> list[StreamTransformExtension]:
    # The registry hands out nothing else; torch's own class counts, which a type checker can't know.
    return [extension for extension in extensions if is_stream_transform(extension)]  # type: ignore[misc]
