"""Repositories made by hand: files with their definitions, and mentions between them."""

from __future__ import annotations

import bisect
from dataclasses import replace

from pagedex.model.facts import Definition, Facts, Import, Reference
from pagedex.model.files import FileKind, SourceFile
from pagedex.model.ties import Base, ImportTarget, Place, Repository, Use


def defined(name: str, kind: str, line: int, **rest: object) -> Definition:
    """A definition of one line at the top, unless ``rest`` says otherwise."""
    one = Definition(name=name, qualname=name, kind=kind, line=line, end_line=line)
    return replace(one, **rest)  # type: ignore[arg-type]


class Made:
    """Files are added in the order of their paths; then imports and mentions lead from one to another."""

    def __init__(self, name: str = "orchard", revision: str = "") -> None:
        self.repository = Repository(name, revision, [], [])
        self.texts: list[str | None] = []

    def text_of(self, file: int) -> str | None:
        return self.texts[file]

    def add(self, path: str, text: str, facts: Facts | None = None, *, test: bool = False) -> int:
        """A text file, Python without definitions unless ``facts`` say otherwise; gives its index."""
        lines = text.count("\n")
        size = len(text.encode())
        file = SourceFile(
            path, size, FileKind.TEXT, digest=f"{len(self.texts):040x}", encoding="utf-8", lines=lines, test=test
        )
        return self._append(file, facts if facts is not None else Facts("Python", "python"), text)

    def add_unread(self, path: str, kind: FileKind, note: str = "") -> int:
        return self._append(SourceFile(path, 7, kind, note=note), None, None)

    def _append(self, file: SourceFile, facts: Facts | None, text: str | None) -> int:
        made = self.repository
        assert not made.files or made.files[-1].path < file.path
        made.files.append(file)
        made.facts.append(facts)
        made.imports.append([ImportTarget(-1, one.module) for one in facts.imports] if facts is not None else [])
        made.importers.append([])
        made.references.append([-1] * len(facts.references) if facts is not None else [])
        made.mentions.append([])
        made.uses.append({})
        self.texts.append(text)
        return len(made.files) - 1

    def imports(self, file: int, line: int, target: int, name: str) -> None:
        """``from target import name`` in a line."""
        facts = self._facts(file)
        module = self.repository.files[target].path.removesuffix(".py").replace("/", ".")
        facts.imports.append(Import(line, module, name))
        self.repository.imports[file].append(ImportTarget(target))
        self.repository.importers[target].append((file, len(facts.imports) - 1))
        self.repository.importers[target].sort()

    def refers(self, file: int, line: int, target: int) -> None:
        """A link of a document to another file."""
        self._facts(file).references.append(Reference(line, "see", self.repository.files[target].path))
        self.repository.references[file].append(target)

    def mention(self, file: int, line: int, column: int, target: Place, within: int = -1, *, sure: bool = True) -> Use:
        use = Use(file, line, column, len(self.repository.definition(target).name), within, target, sure)
        bisect.insort(self.repository.mentions[file], use, key=lambda one: (one.line, one.column, one.target))
        self.repository.uses[target.file].setdefault(target.definition, []).append(use)
        return use

    def inherits(self, class_: Place, base: Place) -> None:
        self.repository.bases.setdefault(class_, []).append(Base(self.repository.definition(base).name, base))
        self.repository.subclasses.setdefault(base, []).append(class_)

    def overrides(self, method: Place, above: Place) -> None:
        self.repository.overrides.setdefault(method, []).append(above)
        self.repository.overridden.setdefault(above, []).append(method)

    def _facts(self, file: int) -> Facts:
        facts = self.repository.facts[file]
        assert facts is not None
        return facts
