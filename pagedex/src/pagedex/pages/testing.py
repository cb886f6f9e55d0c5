"""Testing & Usage: the tests that reach each definition, those that none reaches, and a real call as the example."""

from __future__ import annotations

from collections.abc import Sequence

from pagedex.model.blocks import Block, Bullets, Code, Fence, Link, Paragraph, Runs, Strong, ToLine
from pagedex.model.facts import Definition
from pagedex.model.ties import Place, Use
from pagedex.pages.example import example_of
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, joined, number

_TESTED = ("class", "struct", "interface", "trait", "function", "method", "property", "macro", "constant")
_MOST_DEFINITIONS = 60
_MOST_TESTS = 8
_MOST_NAMES = 100


def testing(subject: Subject) -> list[Block]:
    blocks = _as_test(subject) if subject.file.test else _tested(subject)
    example = None if subject.file.test else example_of(subject)
    if example is not None:
        use, first, text = example
        facts = subject.repository.facts[use.file]
        path = subject.tables.path(use.file)
        place = Link(f"{subject.tables.display(use.file)}:{use.line}", ToLine(path, use.line), code=True)
        around: Runs = ()
        if use.within >= 0:
            around = (" in ", subject.tables.definition_link(Place(use.file, use.within)))
        head: Runs = (Strong("In use"), ": ", subject.link(use.target.definition), " at ", place, *around, ":")
        blocks += [Paragraph(head), Fence(text, facts.lexer if facts is not None else "text", path, first)]
    return blocks


def _is_tested(one: Definition) -> bool:
    special = one.name.startswith("__") and one.name.endswith("__")
    return one.kind in _TESTED and one.public and not special and "overload" not in one.labels


def _tested(subject: Subject) -> list[Block]:
    """The definitions of a file that is no test, with the tests that mention them."""
    wanted = [index for index, one in enumerate(subject.facts.definitions) if _is_tested(one)]
    reached: dict[int, list[Use]] = {}
    for index, _ in enumerate(subject.facts.definitions):
        tests = [use for use in subject.uses(index) if use.sure and subject.tables.is_test(use.file)]
        if tests:
            reached[index] = tests
    if not reached:
        count = subject.tables.test_files
        where = f"mentions of {subject.file.display} in {counted(count, 'test file')}"
        looked = f"Looked for {where if count else 'test files in the repository'}; none found."
        return [Paragraph((looked,))]
    files = {use.file for uses in reached.values() for use in uses}
    blocks: list[Block] = [
        Paragraph(
            (
                f"{counted(len(files), 'test file')} {'mentions' if len(files) == 1 else 'mention'} {counted(len(reached), 'definition')}:",
            )
        ),
        Bullets(
            [
                (subject.link(index), ": ", *_tests(subject, reached[index]))
                for index in list(reached)[:_MOST_DEFINITIONS]
            ]
        ),
    ]
    if len(reached) > _MOST_DEFINITIONS:
        blocks.append(Paragraph((f"The list has the first {_MOST_DEFINITIONS} of {number(len(reached))}.",)))
    missing = [index for index in wanted if index not in reached]
    if missing:
        shown = joined((subject.link(index),) for index in missing[:_MOST_NAMES])
        more = f" and {number(len(missing) - _MOST_NAMES)} more" if len(missing) > _MOST_NAMES else ""
        blocks.append(
            Paragraph(
                (
                    Strong(f"No test mentions {number(len(missing))} of {counted(len(wanted), 'public definition')}"),
                    ": ",
                    *shown,
                    more,
                )
            )
        )
    return blocks


def _tests(subject: Subject, uses: Sequence[Use]) -> Runs:
    """The tests around uses, each with the line of the first."""
    first: dict[tuple[int, int], Use] = {}
    for use in sorted(uses, key=lambda use: (use.file, use.line)):
        first.setdefault((use.file, use.within), use)
    # An import at the top says nothing beside a test that uses what was imported.
    inside = [use for use in first.values() if use.within >= 0] or list(first.values())
    parts: list[Runs] = []
    for use in inside[:_MOST_TESTS]:
        place = Link(f"{subject.tables.display(use.file)}:{use.line}", ToLine(subject.tables.path(use.file), use.line))
        around: Runs = ()
        if use.within >= 0:
            around = (subject.tables.definition_link(Place(use.file, use.within)), " ")
        parts.append((*around, *(("(", place, ")") if around else (place,))))
    more = f" and {counted(len(inside) - _MOST_TESTS, 'more', 'more')}" if len(inside) > _MOST_TESTS else ""
    return (*joined(parts), more)


def _as_test(subject: Subject) -> list[Block]:
    """What a test file tests: its tests, and the definitions that they reach."""
    tests = [
        index
        for index, one in enumerate(subject.facts.definitions)
        if one.kind in ("function", "method") and one.name.lower().startswith("test")
    ]
    reached: dict[int, dict[int, int]] = {}
    for use in subject.mentions:
        if use.sure and use.target.file != subject.index and not subject.tables.is_test(use.target.file):
            reached.setdefault(use.target.file, {}).setdefault(use.target.definition, use.line)
    blocks: list[Block] = []
    if tests:
        shown = joined((subject.link(index),) for index in tests[:_MOST_NAMES])
        more = f" and {number(len(tests) - _MOST_NAMES)} more" if len(tests) > _MOST_NAMES else ""
        blocks.append(Paragraph((Strong(counted(len(tests), "test")), ": ", *shown, more)))
    if reached:
        items: list[Runs] = []
        for file in sorted(reached, key=lambda file: (-len(reached[file]), file))[:_MOST_DEFINITIONS]:
            parts: list[Runs] = [
                (
                    subject.tables.definition_link(Place(file, index)),
                    " (",
                    Link(f"{line}", ToLine(subject.path, line)),
                    ")",
                )
                for index, line in reached[file].items()
            ]
            more = f" and {number(len(parts) - _MOST_TESTS)} more" if len(parts) > _MOST_TESTS else ""
            items.append((subject.tables.page_link(file), ": ", *joined(parts[:_MOST_TESTS]), more))
        head = f"It reaches definitions of {counted(len(reached), 'file')} (the line of the first mention):"
        blocks += [Paragraph((head,)), Bullets(items)]
    if not blocks:
        return [
            Paragraph(("Looked for tests and mentions of other files in ", Code(subject.file.display), "; none found."))
        ]
    return blocks
