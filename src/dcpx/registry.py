"""`ExtensionRegistry`: from a descriptor's name to the class that reads what it wrote.

Third-party packages declare their extensions in the entry-point group `dcpx.extensions`; the entry's name is the
registry name, its value the class:

    [project.entry-points."dcpx.extensions"]
    "rot13@acme" = "acme_rot13:Rot13"

They are imported only when a descriptor asks for them.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from ._torch_bridge import TORCH_EXTENSION_MODULE
from .descriptor import Descriptor, check_key
from .errors import ExtensionError
from .extension import Extension, StreamTransformExtension

__all__ = ["ENTRY_POINT_GROUP", "ExtensionRegistry", "default_registry"]

ENTRY_POINT_GROUP = "dcpx.extensions"

# By name, so that this room stays below the extensions it registers.
_BUILT_IN = {
    "stream.zstd": "dcpx.extensions.zstandard:ZStandard",
    "stream.chain@dcpx": "dcpx.extensions.chain:Chain",
    "stream.pack@dcpx": "dcpx.extensions.pack:Pack",
}


class ExtensionRegistry:
    """Knows extension classes by their registry name; populated with dcpx's own and, on demand, installed plug-ins.

    Takes the place of torch's class of the same name in `FileSystemReader(_extension_registry=...)`.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[Extension]] = {name: _load_built_in(name) for name in _BUILT_IN}

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lstrip('_')} of {', '.join(sorted(self._classes))}>"

    @property
    def extensions(self) -> Mapping[str, type[Extension]]:
        """A read-only view of what is registered and loaded, by name."""
        return MappingProxyType(self._classes)

    def names(self) -> list[str]:
        """The names that descriptors may bear here, those of installed plug-ins included, sorted."""
        return sorted({*self._classes, *_plug_ins()})

    def register(self, cls: type[Extension]) -> None:
        """Add a class under its `registry_name()`.

        Raises ExtensionError (a ValueError) where the name is malformed or belongs to another class already.
        """
        name = check_key(cls.registry_name())
        known = self._classes.get(name)
        if known is not None and known is not cls:
            kind = "a built-in extension" if name in _BUILT_IN else "an extension registered already"
            raise ExtensionError(
                f"{_path(cls)} can't be registered as {name!r}: that is {kind}, {_path(known)}",
                None,
                "Give it a name of its own, such as name@your-package",
            )
        self._classes[name] = cls

    def from_descriptor_list(self, descriptors: Sequence[str]) -> Sequence[Extension]:
        """An extension for each descriptor, in the same order.

        Raises ExtensionError (a ValueError) for a malformed descriptor, a name that nobody registered, and an
        extension that can't be applied to a stream; errors of the extension's own `from_descriptor` pass through.
        """
        if isinstance(descriptors, str):
            raise ExtensionError(f"a list of descriptors was expected, not the text {descriptors!r:.200}")
        return [self._build(Descriptor.parse(text)) for text in descriptors]

    def _build(self, descriptor: Descriptor) -> Extension:
        cls = self._classes.get(descriptor.key) or self._load_plug_in(descriptor.key)
        build = getattr(cls, "from_descriptor_in", None)
        extension = build(descriptor.version, self) if build else cls.from_descriptor(descriptor.version)
        if not is_stream_transform(extension):
            raise ExtensionError(
                f"extension {str(descriptor)!r} is a {_path(type(extension))}, which can't be applied to a stream",
                None,
                "Derive it from dcpx.StreamTransformExtension",
            )
        return extension

    def _load_plug_in(self, name: str) -> type[Extension]:
        claims = _plug_ins().get(name, ())
        if not claims:
            raise self._unknown(name)
        if len(claims) > 1:
            raise ExtensionError(
                f"several packages claim the extension {name!r}: {', '.join(map(_claim, claims))}",
                None,
                "Uninstall all but one of them",
            )
        try:
            cls = claims[0].load()
        except Exception as error:
            raise ExtensionError(
                f"the extension {name!r} of {_claim(claims[0])} can't be imported: {error!r}",
                None,
                "Mend or reinstall that package",
            ) from error
        own_name = cls.registry_name() if isinstance(cls, type) and hasattr(cls, "registry_name") else None
        if own_name != name:
            raise ExtensionError(
                f"{_claim(claims[0])} claims the extension {name!r}, but its class calls itself {own_name!r}",
                None,
                "Mend that package: the entry point's name must be the registry name",
            )
        self._classes[name] = cls
        return self._classes[name]

    def _unknown(self, name: str) -> ExtensionError:
        domain = Descriptor.parse(name).domain
        bringer = f"the package {domain!r}, by the name after the @," if domain else "the package that brings it"
        return ExtensionError(
            f"unknown extension {name!r}; known are {', '.join(self.names())}",
            None,
            f"Install {bringer} or register its class with ExtensionRegistry.register",
        )


class _FrozenRegistry(ExtensionRegistry):
    def register(self, cls: type[Extension]) -> None:
        raise ExtensionError(
            "the default registry is frozen",
            None,
            "Make an ExtensionRegistry of your own and pass it to the reader, or declare an entry point in the group "
            + ENTRY_POINT_GROUP,
        )


@functools.cache
def default_registry() -> ExtensionRegistry:
    """The registry of dcpx's own extensions and installed plug-ins, shared and frozen: `register` raises."""
    return _FrozenRegistry()


def is_stream_transform(extension: object) -> bool:
    """Whether `extension` is a StreamTransformExtension, dcpx's or torch's."""
    if isinstance(extension, StreamTransformExtension):
        return True
    torchs = getattr(sys.modules.get(TORCH_EXTENSION_MODULE), "StreamTransformExtension", None)
    return torchs is not None and isinstance(extension, torchs)


def _load_built_in(name: str) -> type[Extension]:
    module, _, attribute = _BUILT_IN[name].partition(":")
    cls: type[Extension] = getattr(importlib.import_module(module), attribute)
    return cls


@functools.cache
def _plug_ins() -> dict[str, tuple[EntryPoint, ...]]:
    """All installed claims by name; one package that is found twice on the path claims once."""
    claims: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in _BUILT_IN:
            warnings.warn(f"{_claim(entry)} claims the built-in extension {entry.name!r} and is ignored", stacklevel=2)
        else:
            claims.setdefault(entry.name, {})[entry.value] = entry
    return {name: tuple(found.values()) for name, found in claims.items()}


def _claim(entry: EntryPoint) -> str:
    return f"{entry.dist.name} ({entry.value})" if entry.dist is not None else entry.value


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
