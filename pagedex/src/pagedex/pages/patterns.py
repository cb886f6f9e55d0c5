"""Code Patterns & Idioms: what definitions and their decorators tell exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pagedex.model.blocks import Block, Bullets, Code, Link, Paragraph, Runs, Strong, ToLine
from pagedex.model.facts import Definition
from pagedex.pages.findings import found
from pagedex.pages.subject import Subject
from pagedex.words.phrases import joined, number

_MOST = 40
_CLASSES = ("class", "struct", "interface", "trait", "enum")

# Label of a class -> its pattern; of anything else -> its pattern.
_OF_CLASSES = {
    "abstract": "abstract classes",
    "dataclass": "dataclasses",
    "enum": "enumerations",
    "protocol": "protocols",
    "namedtuple": "named tuples",
    "typeddict": "typed dictionaries",
    "final": "final classes",
}
_OF_FUNCTIONS = {
    "abstract": "abstract methods",
    "async": "coroutines",
    "generator": "generators",
    "context manager": "context managers",
    "property": "properties",
    "classmethod": "class methods",
    "staticmethod": "static methods",
    "overload": "overloads",
    "cached": "cached results",
    "dispatches by type": "dispatch by type",
    "deprecated": "deprecated definitions",
}
# Methods of one class that together make it something.
_BY_METHODS = {
    "context managers": ({"__enter__", "__exit__"}, {"__aenter__", "__aexit__"}),
    "iterators": ({"__iter__", "__next__"}, {"__aiter__", "__anext__"}),
    "descriptors": ({"__get__"}, {"__set__"}),
    "instances that are called": ({"__call__"},),
    "hooks on subclasses": ({"__init_subclass__"},),
}
_LOOKED_FOR = (
    *dict.fromkeys((*_OF_CLASSES.values(), *_OF_FUNCTIONS.values(), *_BY_METHODS)),
    "decorators defined here",
    "registrations by decorator",
)


def patterns(subject: Subject) -> list[Block]:
    if not subject.facts.definitions or subject.is_document:
        name = subject.file.display
        return [Paragraph((f"Looked for definitions of code in {name}; none found.",)), *found(subject, "patterns")]
    told: dict[str, list[Runs]] = {}
    for pattern, runs in _patterns(subject):
        told.setdefault(pattern, []).append(runs)
    items: list[Runs] = []
    for pattern in [*(one for one in _LOOKED_FOR if one in told), *(one for one in told if one not in _LOOKED_FOR)]:
        parts = told[pattern]
        more = f" and {number(len(parts) - _MOST)} more" if len(parts) > _MOST else ""
        items.append((Strong(pattern.capitalize()), f" ({number(len(parts))}): ", *joined(parts[:_MOST]), more))
    blocks: list[Block] = [Bullets(items)] if items else []
    blocks += found(subject, "patterns")
    there = {*told, *(one.topic for one in subject.facts.findings if one.section == "patterns")}
    looked = (
        [*_LOOKED_FOR, *subject.facts.looked_for.get("patterns", ())]
        if subject.facts.language == "Python"
        else [*_OF_CLASSES.values(), *subject.facts.looked_for.get("patterns", ())]
    )
    missing = [one for one in dict.fromkeys(looked) if one not in there]
    if missing:
        blocks.append(Paragraph((f"Looked for: {', '.join(missing)}; none found.",)))
    return blocks


def _patterns(subject: Subject) -> Iterator[tuple[str, Runs]]:
    every = subject.facts.definitions
    for index, one in enumerate(every):
        is_class = one.kind in _CLASSES
        for label in one.labels:
            pattern = (_OF_CLASSES if is_class else _OF_FUNCTIONS).get(label)
            if pattern:
                yield pattern, _told(subject, index, one)
        if is_class:
            names = {every[child].name for child in subject.children.get(index, [])}
            for pattern, sets in _BY_METHODS.items():
                if any(wanted <= names for wanted in sets):
                    yield pattern, _told(subject, index, one)
        if one.kind == "function" and subject.uses(index):
            decorated = list(_decorated(subject, index, one))
            if decorated:
                yield "decorators defined here", (*_told(subject, index, one), f", on {len(decorated):,}")
    yield from _decorators(subject, every)


def _decorated(subject: Subject, index: int, one: Definition) -> Iterator[object]:
    for use in subject.uses(index):
        place = subject.tables.decorated(use.file, use.line, one.name) if use.sure else None
        if place is not None:
            yield place


def _decorators(subject: Subject, every: Iterable[Definition]) -> Iterator[tuple[str, Runs]]:
    """Decorators that the file uses, each with the definitions below it; those that register apart."""
    used: dict[str, list[int]] = {}
    for index, one in enumerate(every):
        for text in one.decorators:
            used.setdefault(text, []).append(index)
    for text, indexes in used.items():
        lines = [subject.definition(index).line for index in indexes]
        links = joined((Link(f"{line}", ToLine(subject.path, line)),) for line in lines[:_MOST])
        more = f" and {number(len(lines) - _MOST)} more" if len(lines) > _MOST else ""
        name = text.partition("(")[0].rpartition(".")[2]
        pattern = "registrations by decorator" if name.lstrip("_").startswith("register") else "decorators used"
        yield pattern, (Code(f"@{text}"), " at ", *links, more)


def _told(subject: Subject, index: int, one: Definition) -> Runs:
    return (subject.link(index), " (", Link(f"{one.line}", ToLine(subject.path, one.line)), ")")
