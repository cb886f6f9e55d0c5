"""What a reader may demand of a checkpoint, whatever the checkpoint says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Literal

from ..errors import TrustError, Where
from ..registry import ExtensionRegistry
from .items import StoredItem

__all__ = ["Require", "check_encrypted"]

Require = Literal["checksums", "encrypted"]
"""`checksums`: there must be a manifest, and everything must be what it says. `encrypted`: every item must go through
an extension that decrypts and authenticates it."""


def check_encrypted(items: Iterable[StoredItem], registry: ExtensionRegistry) -> None:
    """TrustError for an item that isn't encrypted: none of the extensions that it will be read with decrypts it.

    The extensions' own classes say that, as they are installed here. The metadata, which anyone may have written, only
    says which extensions these are.
    """

    @cache
    def encrypts(descriptors: tuple[str, ...]) -> bool:
        return any(getattr(extension, "encrypts", False) for extension in registry.from_descriptor_list(descriptors))

    for item in items:
        if not encrypts(tuple(item.info.transform_descriptors or ())):
            raise TrustError("the item is not encrypted", Where(item.info.relative_path, item.name))
