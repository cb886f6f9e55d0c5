"""Which file a Python import means.

A module's dotted name begins at the last folder on the way up that is a package. Imports are looked for beside the
importing file's own root first (its ``src``, its tests, its script's folder), then at the other roots, so that two
modules of one name are told apart as the interpreter would from that place. Nothing is looked up outside the files
given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pagedex.model.facts import Facts
from pagedex.model.files import SourceFile

_SUFFIXES = (".py", ".pyi")


class Modules:
    """The Python modules among ``files``, by name."""

    def __init__(self, files: Sequence[SourceFile], facts: Sequence[Facts | None], root_name: str) -> None:
        self._by_path = {one.path: index for index, one in enumerate(files) if one.path.endswith(_SUFFIXES)}
        self._paths = [one.path for one in files]
        self._folders = {""}
        for path in self._by_path:
            folder = path.rpartition("/")[0]
            while folder not in self._folders:
                self._folders.add(folder)
                folder = folder.rpartition("/")[0]
        self._root_of: dict[str, str] = {}
        self._roots = sorted(
            {self._root(path) for path in self._by_path} | {""}, key=lambda root: (root.count("/"), root)
        )
        self.prefix = self._prefix(facts, root_name) if self._module_in("", ()) is not None else ()
        self._found: dict[tuple[str, str], int | str | None] = {}

    def find(self, dotted: str, importer: str) -> int | str | None:
        """The index of the file that ``import dotted`` in ``importer`` reads; the path of a folder that is a package
        without ``__init__``; None for what isn't in the repository."""
        root = self._root(importer)
        key = (root, dotted)
        if key not in self._found:
            self._found[key] = self._find(dotted, root)
        return self._found[key]

    def relative(self, dotted: str, level: int, importer: str) -> int | str | None:
        """The same for ``from ..dotted import``, with ``level`` dots."""
        folder = importer.rpartition("/")[0]
        for _ in range(level - 1):
            if not folder:
                return None
            folder = folder.rpartition("/")[0]
        return self._module_in(folder, tuple(dotted.split(".")) if dotted else ())

    def child(self, module: int | str, name: str) -> int | str | None:
        """The module ``name`` inside a package: a file's index if it is an ``__init__``, or a folder's path."""
        if isinstance(module, str):
            return self._module_in(module, (name,))
        folder, _, file = self._paths[module].rpartition("/")
        return self._module_in(folder, (name,)) if file.startswith("__init__.") else None

    def name_of(self, file: int) -> str:
        """The dotted name of a file's module."""
        path = self._paths[file]
        root = self._root(path)
        parts = path[len(root) :].strip("/").rpartition(".")[0].split("/")
        if parts[-1] == "__init__":
            parts.pop()
        return ".".join((*(self.prefix if not root else ()), *parts))

    def _find(self, dotted: str, own_root: str) -> int | str | None:
        parts = tuple(dotted.split("."))
        roots = [own_root, *(root for root in self._roots if root != own_root)]
        folder: str | None = None
        for root in roots:
            inside = parts
            if not root and self.prefix and parts[: len(self.prefix)] == self.prefix:
                inside = parts[len(self.prefix) :]
            found = self._module_in(root, inside)
            if isinstance(found, int):
                return found
            folder = found if folder is None else folder
        return folder

    def _module_in(self, folder: str, parts: tuple[str, ...]) -> int | str | None:
        path = "/".join((*((folder,) if folder else ()), *parts))
        for suffix in _SUFFIXES:
            package = f"{path}/__init__{suffix}" if path else f"__init__{suffix}"
            if (found := self._by_path.get(package)) is not None:
                return found
            if parts and (found := self._by_path.get(path + suffix)) is not None:
                return found
        return path if parts and path in self._folders else None

    def _root(self, path: str) -> str:
        """The folder from which a file's dotted name begins."""
        folder = path.rpartition("/")[0]
        known = self._root_of.get(folder)
        if known is None:
            above = folder
            while above and any(f"{above}/__init__{suffix}" in self._by_path for suffix in _SUFFIXES):
                above = above.rpartition("/")[0]
            known = self._root_of[folder] = above
        return known

    def _prefix(self, facts: Sequence[Facts | None], root_name: str) -> tuple[str, ...]:
        """The dotted name of the root itself, where that is a package: as its own files import one another."""
        seen: Counter[tuple[str, ...]] = Counter({(root_name,): 1})
        for one in facts:
            for imported in one.imports if one is not None and one.language == "Python" else ():
                parts = imported.module.split(".")
                if imported.level or root_name not in parts:
                    continue
                end = parts.index(root_name) + 1
                if len(parts) > end and self._module_in("", tuple(parts[end:])) is not None:
                    seen[tuple(parts[:end])] += 1
        return max(seen, key=lambda prefix: (seen[prefix], prefix))
