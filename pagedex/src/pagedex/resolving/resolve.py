"""The ties of a whole repository."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

from pagedex.model.facts import Definition, Facts
from pagedex.model.files import SourceFile
from pagedex.model.ties import ImportTarget, Place, Repository, Use
from pagedex.resolving.inference import Inference
from pagedex.resolving.inheritance import add_inheritance
from pagedex.resolving.mentions import mentions_of
from pagedex.resolving.modules import Modules
from pagedex.resolving.paths import Paths
from pagedex.resolving.things import Kind

# Mentions are found in shares of so many files, each by an inference of its own: what is found depends on the share,
# and not on how many processes there are or who took which.
SHARE = 48
_DEPTH = 6000

Lines = Callable[[int], Sequence[str]]
Shares = Callable[[Callable[[int], list[list[Use]]], int], list[list[list[Use]]]]


def resolve(
    name: str,
    revision: str,
    files: Sequence[SourceFile],
    facts: Sequence[Facts | None],
    root_name: str,
    lines_of: Lines,
    run: Shares | None = None,
) -> Repository:
    """What the files are to each other.

    ``lines_of`` gives a file's lines; ``run(function, count)`` calls ``function`` with each of ``range(count)`` and
    returns what it gave in that order, in processes if it likes.
    """
    repository = Repository(name, revision, list(files), list(facts))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEPTH))
    try:
        _resolve(repository, root_name, lines_of, run or _one_by_one)
    finally:
        sys.setrecursionlimit(before)
    return repository


def _one_by_one(function: Callable[[int], list[list[Use]]], count: int) -> list[list[list[Use]]]:
    return [function(index) for index in range(count)]


def _resolve(repository: Repository, root_name: str, lines_of: Lines, run: Shares) -> None:
    files, facts = repository.files, repository.facts
    modules = Modules(files, facts, root_name)
    _add_imports(repository, modules, Inference(files, facts, modules))
    add_inheritance(repository, Inference(files, facts, modules))
    by_name: defaultdict[str, list[Place]] = defaultdict(list)
    for file, one in enumerate(facts):
        if one is None or one.code is None:
            continue
        for index, definition in enumerate(one.definitions):
            # What a class inside a function has is seldom reached by others.
            if definition.kind in ("method", "property", "attribute") and not _is_local(one, definition):
                by_name[definition.name].append(Place(file, index))

    def share(number: int) -> list[list[Use]]:
        inference = Inference(files, facts, modules)
        return [
            mentions_of(file, facts, lines_of(file), inference, by_name, repository.overridden)
            for file in range(number * SHARE, min((number + 1) * SHARE, len(files)))
        ]

    count = (len(files) + SHARE - 1) // SHARE
    repository.mentions = [mentions for found in run(share, count) for mentions in found]
    repository.uses = [{} for _ in files]
    for mentions in repository.mentions:
        for use in mentions:
            repository.uses[use.target.file].setdefault(use.target.definition, []).append(use)


def _is_local(facts: Facts, definition: Definition) -> bool:
    while definition.parent >= 0:
        definition = facts.definitions[definition.parent]
        if definition.kind in ("function", "method", "property"):
            return True
    return False


def _add_imports(repository: Repository, modules: Modules, inference: Inference) -> None:
    paths = Paths(repository.files)
    importers: list[list[tuple[int, int]]] = [[] for _ in repository.files]
    for file, one in enumerate(repository.facts):
        targets: list[ImportTarget] = []
        for index, imported in enumerate(one.imports if one is not None else ()):
            assert one is not None
            if one.language == "Python":
                targets.append(_python_target(modules, inference, file, index, one))
            else:
                found = paths.imported(file, one, imported)
                targets.append(ImportTarget(found, "" if found >= 0 else imported.module))
            if targets[-1].file >= 0 and targets[-1].file != file:
                importers[targets[-1].file].append((file, index))
        repository.imports.append(targets)
        repository.references.append([paths.referred(file, link) for link in one.references] if one is not None else [])
    repository.importers = [sorted(found) for found in importers]


def _python_target(modules: Modules, inference: Inference, file: int, index: int, facts: Facts) -> ImportTarget:
    one = facts.imports[index]
    module = inference.imported_module(file, index)
    if module is not None and one.name not in ("", "*"):
        # from package import module: the module, unless the package itself has something of that name.
        package = (Kind.MODULE if isinstance(module, int) else Kind.FOLDER, module)
        places, values = inference.member(package, one.name)
        if not places and len(values) == 1 and values[0][0] == Kind.MODULE:
            return ImportTarget(values[0][1])
    if isinstance(module, int):
        return ImportTarget(module)
    if isinstance(module, str):
        return ImportTarget(-1, module.replace("/", "."))
    dots = "." * one.level
    return ImportTarget(-1, dots + one.module)
