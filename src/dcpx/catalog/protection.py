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
"""`checksums`: a manifest, and that everything is what it says. `encrypted`: that every item goes through an extension
which decrypts and authenticates it."""


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
