"""Makes dcpx's extensions pass torch's own `isinstance` checks without importing torch.

DCP's reader applies only what is an instance of *its* `StreamTransformExtension`, and skips everything else without a
word. So dcpx's class is registered as a virtual subclass of torch's: at once where torch's module is already
imported, else at the moment it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

TORCH_EXTENSION_MODULE = "torch.distributed.checkpoint._extension"


def connect() -> None:
    """Register dcpx's contract with torch's, now or as soon as torch's module is imported."""
    module = sys.modules.get(TORCH_EXTENSION_MODULE)
    if module is not None and hasattr(module, "StreamTransformExtension"):
        _register(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register(module: ModuleType) -> None:
    from .extension import Extension, StreamTransformExtension

    module.Extension.register(Extension)
    module.StreamTransformExtension.register(StreamTransformExtension)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds torch's module as the other finders would, and registers after it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != TORCH_EXTENSION_MODULE:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, self)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        _register(module)
        # Only now: a look-up or an import that failed may be followed by another.
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
