"""What is to be done once a module of somebody else's has been imported, now or later, without importing it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["after_import"]


def after_import(name: str, action: Callable[[ModuleType], None], *, is_ready: Callable[[ModuleType], bool]) -> None:
    """Call `action` with the module `name`: at once where it is imported and ready, else as soon as it is. The same
    action isn't asked for twice."""
    module = sys.modules.get(name)
    if module is not None and is_ready(module):
        action(module)
    elif not any(isinstance(finder, _Finder) and finder.action is action for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, action))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module as the other finders would, and acts after it has run."""

    def __init__(self, name: str, action: Callable[[ModuleType], None]) -> None:
        self._name = name
        self.action = action

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        behind = sys.meta_path.index(self) + 1 if self in sys.meta_path else 0
        for finder in sys.meta_path[behind:]:  # not those before, which ask this one in turn
            spec = finder.find_spec(name, path, target)
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
        self._finder.action(module)
        # Only now: a look-up or an import that failed may be followed by another.
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
