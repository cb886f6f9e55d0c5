"""What a reader may demand of a checkpoint, whatever the checkpoint says of itself, and what it lets items name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ..errors import TrustError, Where
from ..pickles.torch_pickle import SafeGlobal
from ..registry import ExtensionRegistry
from .items import StoredItem

__all__ = ["Require", "Trust", "check_encrypted"]

Require = Literal["checksums", "encrypted"]
"""`checksums`: a manifest, and that everything is what it says. `encrypted`: that every item goes through an extension
which decrypts and authenticates it."""


@dataclass(frozen=True)
class Trust:
    """What a caller lets items name besides what is safe for everybody: `safe_globals`, or with `all` anything."""

    safe_globals: Sequence[SafeGlobal] = ()
    all: bool = False


def check_encrypted(items: Iterable[StoredItem], registry: ExtensionRegistry) -> None:
    """TrustError for an item that isn't encrypted: none of the extensions that it will be read with says so.

    That is asked of the classes that are installed here, so that nothing is gained by what is left out of the metadata.
    """

    @cache
    def encrypts(descriptors: tuple[str, ...]) -> bool:
        return any(getattr(extension, "encrypts", False) for extension in registry.from_descriptor_list(descriptors))

    for item in items:
        if not encrypts(tuple(item.info.transform_descriptors or ())):
            raise TrustError("the item is not encrypted", Where(item.info.relative_path, item.name))
