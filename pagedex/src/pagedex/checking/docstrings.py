"""Public definitions that say nothing of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from pagedex.model.ties import Place, Repository

_DESCRIBED = frozenset(("class", "function", "method", "property", "struct", "interface", "trait", "enum"))


def undocumented(repository: Repository) -> Iterator[Place]:
    """Public classes, functions, methods and properties without a docstring or a leading comment, outside of tests.

    What overrides a described method inherits its description; special methods, overloads and setters need none.
    """
    for file, facts in enumerate(repository.facts):
        if facts is None or repository.files[file].test:
            continue
        for index, one in enumerate(facts.definitions):
            if one.kind not in _DESCRIBED or not one.public or one.doc or one.name.startswith("__"):
                continue
            if {"overload", "setter", "deleter"} & set(one.labels):
                continue
            if not any(repository.definition(base).doc for base in repository.overrides.get(Place(file, index), ())):
                yield Place(file, index)
