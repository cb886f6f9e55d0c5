"""Which file an include, a link or an import by path means."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from pagedex.model.facts import Facts, Import, Reference
from pagedex.model.files import SourceFile

_SCRIPTS = ("", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".d.ts", "/index.ts", "/index.tsx", "/index.js")


class Paths:
    """The files of a repository by their paths and the ends of these."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._paths = [one.path for one in files]
        self._index = {path: index for index, path in enumerate(self._paths)}
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        for index, path in enumerate(self._paths):
            self._by_name[path.rpartition("/")[2]].append(index)
        self._folders: defaultdict[str, list[int]] = defaultdict(list)
        for index, path in enumerate(self._paths):
            self._folders[path.rpartition("/")[0]].append(index)

    def imported(self, importer: int, facts: Facts, one: Import) -> int:
        """The file that an import of a language other than Python means, -1 for one outside the repository."""
        folder = self._paths[importer].rpartition("/")[0]
        if facts.language in ("JavaScript", "TypeScript"):
            return self._first(folder, one.module, _SCRIPTS) if one.module.startswith(".") else -1
        if facts.language == "Rust":
            return self._rust(importer, one)
        if facts.language == "Java":
            return self._ending(one.module.replace(".", "/") + ".java", folder)
        if facts.language == "Go":
            return -1  # a package is a folder, which no single file stands for
        return self._ending(one.module, folder)

    def referred(self, source: int, one: Reference) -> int:
        """The file that a document's link means, -1 for an address, an anchor, or what isn't there."""
        try:
            parts = urlsplit(one.target)
        except ValueError:
            return -1
        if parts.scheme or parts.netloc or not parts.path:
            return -1
        path = unquote(parts.path)
        folder = self._paths[source].rpartition("/")[0]
        return self._first("" if path.startswith("/") else folder, path.lstrip("/"), ("", "/README.md", "/index.md"))

    def _first(self, folder: str, path: str, suffixes: Sequence[str]) -> int:
        whole = posixpath.normpath(posixpath.join(folder, path))
        for suffix in suffixes:
            if (found := self._index.get(whole + suffix)) is not None:
                return found
        if whole.endswith(".js") and (found := self._index.get(whole[:-3] + ".ts")) is not None:
            return found
        return -1

    def _ending(self, path: str, folder: str) -> int:
        """The file beside the one that includes it, else the only or nearest one whose path ends so."""
        whole = posixpath.normpath(posixpath.join(folder, path))
        if (found := self._index.get(whole)) is not None:
            return found
        path = posixpath.normpath(path)
        if path.startswith(".."):
            return -1
        ends = [
            index
            for index in self._by_name.get(path.rpartition("/")[2], ())
            if self._paths[index] == path or self._paths[index].endswith("/" + path)
        ]
        return min(ends, key=lambda index: (-_shared(self._paths[index], folder), self._paths[index]), default=-1)

    def _rust(self, importer: int, one: Import) -> int:
        folder, _, name = self._paths[importer].rpartition("/")
        stem = name.rpartition(".")[0]
        parts = [part for part in one.module.split("::") if part]
        below = folder if stem in ("mod", "lib", "main") else posixpath.join(folder, stem)
        if parts and parts[0] == "crate":
            at = self._paths[importer].find("src/")
            below, parts = self._paths[importer][: at + 3] if at >= 0 else folder, parts[1:]
        elif parts and parts[0] == "super":
            below, parts = posixpath.dirname(below), parts[1:]
        elif parts and parts[0] == "self":
            parts = parts[1:]
        while parts:
            path = posixpath.join(below, *parts)
            for suffix in (".rs", "/mod.rs"):
                if (found := self._index.get(path + suffix)) is not None:
                    return found
            parts = parts[:-1]
        return -1


def _shared(path: str, folder: str) -> int:
    count = 0
    for one, other in zip(path.split("/"), folder.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count
