"""Code Patterns & Idioms: what definitions and their decorators tell exactly."""

from __future__ import annotations

from collections.abc import Iterator

from pagedex.model.blocks import Block, Bullets, Code, Runs, Strong
from pagedex.pages.findings import found
from pagedex.pages.subject import Subject
from pagedex.words.phrases import line_link, line_links, number, paragraph, some

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
# Pattern -> sets of methods, any of which makes a class one.
_BY_METHODS = {
    "context managers": ({"__enter__", "__exit__"}, {"__aenter__", "__aexit__"}),
    "iterators": ({"__iter__", "__next__"}, {"__aiter__", "__anext__"}),
    "descriptors": ({"__get__"}, {"__set__"}),
    "instances that are called": ({"__call__"},),
    "hooks on subclasses": ({"__init_subclass__"},),
}
_DECORATORS_DEFINED = "decorators defined here"
_REGISTRATIONS = "registrations by decorator"
_OF_PYTHON = (
    *dict.fromkeys((*_OF_CLASSES.values(), *_OF_FUNCTIONS.values(), *_BY_METHODS)),
    _DECORATORS_DEFINED,
    _REGISTRATIONS,
)


def patterns(subject: Subject) -> list[Block]:
    told: dict[str, list[Runs]] = {}
    for pattern, runs in _patterns(subject):
        told.setdefault(pattern, []).append(runs)
    known = _OF_PYTHON if subject.facts.language == "Python" else ()
    items: list[Runs] = []
    for pattern in sorted(told, key=lambda one: _OF_PYTHON.index(one) if one in _OF_PYTHON else len(_OF_PYTHON)):
        title = pattern[:1].upper() + pattern[1:]
        items.append((Strong(title), f" ({number(len(told[pattern]))}): ", *some(told[pattern], _MOST)))
    blocks: list[Block] = [Bullets(items)] if items else []
    blocks += found(subject, "patterns")
    there = {*told, *(one.topic for one in subject.facts.findings if one.section == "patterns")}
    looked = dict.fromkeys((*known, *subject.facts.looked_for.get("patterns", ())))
    missing = [one for one in looked if one not in there]
    if missing:
        blocks.append(paragraph(f"Looked for: {', '.join(missing)}; none found."))
    if not blocks:
        blocks.append(paragraph(f"Looked for definitions of code in {subject.file.display}; none found."))
    return blocks


def _patterns(subject: Subject) -> Iterator[tuple[str, Runs]]:
    every = subject.facts.definitions
    for index, one in enumerate(every):
        is_class = one.kind in _CLASSES
        for label in one.labels:
            pattern = (_OF_CLASSES if is_class else _OF_FUNCTIONS).get(label)
            if pattern:
                yield pattern, _told(subject, index)
        if is_class:
            names = {every[child].name for child in subject.children.get(index, [])}
            for pattern, sets in _BY_METHODS.items():
                if any(wanted <= names for wanted in sets):
                    yield pattern, _told(subject, index)
        elif one.kind == "function" and (count := _decorated_with(subject, index)):
            yield _DECORATORS_DEFINED, (*_told(subject, index), f", which decorates {number(count)}")
    yield from _decorators(subject)


def _decorated_with(subject: Subject, index: int) -> int:
    """How many definitions a function surely decorates."""
    name = subject.definition(index).name
    return sum(use.sure and subject.tables.is_decorator(use.file, use.line, name) for use in subject.uses(index))


def _decorators(subject: Subject) -> Iterator[tuple[str, Runs]]:
    """Decorators that the file uses, each with the lines of what stands below it; those that register apart."""
    used: dict[str, list[int]] = {}
    for one in subject.facts.definitions:
        for text in one.decorators:
            used.setdefault(text, []).append(one.line)
    for text, lines in used.items():
        name = text.partition("(")[0].rpartition(".")[2]
        pattern = _REGISTRATIONS if name.lstrip("_").startswith("register") else "decorators used"
        yield pattern, (Code(f"@{text}"), " at ", *line_links(subject.path, lines, _MOST))


def _told(subject: Subject, index: int) -> Runs:
    line = subject.definition(index).line
    return (subject.link(index), " (", line_link(subject.path, line), ")")
