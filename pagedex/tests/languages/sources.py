"""What tests of languages compare: facts without what isn't of interest there."""

from __future__ import annotations

from pagedex.model.facts import Definition, Facts


def found(facts: Facts) -> list[tuple[str, str, int, int, int]]:
    """The kind, the qualified name, the lines and the column of each definition."""
    return [(one.kind, one.qualname, one.line, one.end_line, one.column) for one in facts.definitions]


def imported(facts: Facts) -> list[tuple[int, str, str, str, str]]:
    """The line, the kind, the module, the name and the alias of each import."""
    return [(one.line, one.kind, one.module, one.name, one.alias) for one in facts.imports]


def looked(facts: Facts) -> list[tuple[int, str, str]]:
    """The line, the section and the topic of each finding."""
    return [(one.line, one.section, one.topic) for one in facts.findings]


def named(facts: Facts, qualname: str) -> Definition:
    """The definition of a qualified name, the first where there are several."""
    return next(one for one in facts.definitions if one.qualname == qualname)
