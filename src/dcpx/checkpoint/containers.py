"""The container path: an item through its extensions' streams and `torch.load`, as stock DCP reads it.

For whatever the direct path doesn't know: stock checkpoints, other extensions, tensors that are more than elements.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

import torch

from ..errors import CorruptError, DcpxError, LoadError, Where
from ..extension import StreamTransformExtension
from ..frame import frame_of
from ..registry import ExtensionRegistry
from ..streams import read_exactly
from .items import StoredItem, Target

__all__ = ["fill_from_container", "located", "read_object"]


def read_object(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry) -> bytes:
    """An object's bytes."""
    return _open(stored, item, registry).read(-1)


def fill_from_container(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, targets: list[Target]) -> int:
    """Load the whole tensor and copy to every target what it wants; returns how many bytes that were."""
    limit = item.most_bytes
    content = _open(stored, item, registry)
    if not content.seekable():
        content = io.BytesIO(read_exactly(content, limit + 1))
        if len(content.getbuffer()) > limit:
            raise CorruptError(f"the item unfolds into more than {limit} bytes, which its shape doesn't need")
    loaded = _load(content)
    if not isinstance(loaded, torch.Tensor):
        raise CorruptError(f"a tensor was expected, a {type(loaded).__name__} is stored")
    if loaded.shape != item.shape:
        raise CorruptError(f"the stored tensor is {tuple(loaded.shape)}, the metadata says {tuple(item.shape or ())}")
    if loaded.dtype != item.dtype:
        raise CorruptError(f"the stored tensor is {loaded.dtype}, the metadata says {item.dtype}")
    return sum(target.fill_from(loaded) for target in targets)


def _open(stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry) -> IO[bytes]:
    """The item's content: its transforms undone, the last one applied when writing first."""
    extensions = registry.from_descriptor_list(item.info.transform_descriptors or ())
    limit = item.most_bytes
    # DCP's writer stores the descriptors of several extensions in the order in which they saw the data.
    content = stored
    for extension in reversed(extensions):
        content = cast(StreamTransformExtension, extension).transform_from(content)
        frame = frame_of(content)
        if frame is not None:
            item.check_identity(frame.header)
            if limit >= 0 and extension is extensions[0]:
                frame.limit_total(limit)  # the one that saw the data as it is
    return content


def _load(content: IO[bytes]) -> object:
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except BaseException as error:
        # torch may report another error in the place of the stream's own, even of an interrupt.
        failure = getattr(frame_of(content), "failure", None)
        if failure is None or failure is error:
            raise
        raise failure from None


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
