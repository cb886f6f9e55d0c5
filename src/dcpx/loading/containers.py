"""The container path: a tensor through its extensions' streams and `torch.load`, as stock DCP reads it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from contextlib import nullcontext
from typing import IO, cast

import torch

from ..catalog.containers import open_item, read_up_to
from ..catalog.items import StoredItem
from ..catalog.kept import Held, Kept
from ..dcp.classes import classes_of
from ..dcp.metadata import dtype_name
from ..errors import CorruptError, DcpxError, UnsupportedError
from ..located import extension_errors
from ..pickles.archive import open_archive
from ..pickles.containers import check_archive
from ..pickles.trust import Trust
from ..registry import ExtensionRegistry
from .safe_list import also_allowed
from .targets import Target

__all__ = ["fill_from_container"]

_OTHER_VERSION = "Load it with the versions of torch, and of its class, that it was saved with"

_STEP = 1 << 20
"""Bytes that are read at once where nobody knows how many there are."""


def fill_from_container(
    stored: IO[bytes], item: StoredItem, registry: ExtensionRegistry, targets: list[Target], trust: Trust
) -> int:
    """Load the whole tensor and copy to every target what it wants; returns how many bytes that were."""
    limit = item.most_bytes
    with extension_errors():
        content, size = _steady(open_item(stored, item, registry, limit), limit)
    if size > limit:
        raise CorruptError(f"the item unfolds into more than {limit} bytes, which its shape doesn't need")
    classes = {cls for target in targets for cls in classes_of(target.tensor)}
    with extension_errors():
        loaded = _load(content, trust, classes, limit)
    if not isinstance(loaded, torch.Tensor):
        raise CorruptError(f"a tensor was expected, a {type(loaded).__name__} is stored")
    item.check_tensor(dtype_name(loaded.dtype), loaded.shape)
    return sum(target.fill_from(loaded) for target in targets)


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
    held = read_up_to(content, most)
    return held, held.tell()


def _load(content: IO[bytes], trust: Trust, classes: Iterable[type], most: int) -> object:
    """The tensor in `content`: torch finds there what was checked."""
    with content.keeping() if isinstance(content, Kept) else nullcontext():
        archive = open_archive(content)
        given = check_archive(archive, trust, classes)
    content.seek(0)
    if archive.used:
        whole = read_up_to(content, most)
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
