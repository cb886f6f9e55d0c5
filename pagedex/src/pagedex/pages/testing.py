"""Testing & Usage: the tests that reach each definition, those that none reaches, and a real call as the example."""

from __future__ import annotations

from collections.abc import Sequence

from pagedex.model.blocks import Block, Fence, Link, Runs, Strong, ToLine
from pagedex.model.facts import Definition
from pagedex.model.ties import Place, Use
from pagedex.pages.example import example_of
from pagedex.pages.subject import Subject
from pagedex.words.phrases import bullets, counted, line_link, line_links, number, paragraph, some

_TESTED = ("class", "struct", "interface", "trait", "function", "method", "property", "macro", "constant")
_MOST_DEFINITIONS = 60
_MOST_TESTS = 8
_MOST_NAMES = 100


def testing(subject: Subject) -> list[Block]:
    if subject.file.test:
        return _as_test(subject)
    return [*_tested(subject), *_example(subject)] if subject.is_followed else _named_by_tests(subject)


def _example(subject: Subject) -> list[Block]:
    example = example_of(subject)
    if example is None:
        return []
    use, first, text = example
    facts = subject.repository.facts[use.file]
    head = (Strong("In use"), ": ", subject.link(use.target.definition), ", ", *_place(subject, use), ":")
    lexer = facts.lexer if facts is not None else "text"
    return [paragraph(*head), Fence(text, lexer, subject.tables.path(use.file), first)]


def _place(subject: Subject, use: Use) -> Runs:
    """``test_name (file:line)``, or the file and line alone where nothing is around a use."""
    place = Link(f"{subject.tables.display(use.file)}:{use.line}", ToLine(subject.tables.path(use.file), use.line))
    if use.within < 0:
        return (place,)
    return (subject.tables.definition_link(Place(use.file, use.within)), " (", place, ")")


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
        return [paragraph(f"Looked for {where if count else 'test files in the repository'}; none found.")]
    files = len({use.file for uses in reached.values() for use in uses})
    verb = "mentions" if files == 1 else "mention"
    items: list[Runs] = [(subject.link(index), ": ", *_tests(subject, uses)) for index, uses in reached.items()]
    blocks: list[Block] = [
        paragraph(f"{counted(files, 'test file')} {verb} {counted(len(reached), 'definition')}:"),
        bullets(items, _MOST_DEFINITIONS),
    ]
    missing: list[Runs] = [(subject.link(index),) for index in wanted if index not in reached]
    if missing:
        head = f"No test mentions {number(len(missing))} of {counted(len(wanted), 'public definition')}"
        blocks.append(paragraph(Strong(head), ": ", *some(missing, _MOST_NAMES)))
    return blocks


def _named_by_tests(subject: Subject) -> list[Block]:
    """Of a file whose mentions aren't followed: the tests that link to it or hold the names of its definitions."""
    if subject.is_document:
        return _linked_from_tests(subject)
    items: list[Runs] = []
    for index, one in enumerate(subject.facts.definitions):
        tests = [file for file in subject.named_in(index) if subject.tables.is_test(file) and file != subject.index]
        found: list[Runs] = []
        for file in tests:
            facts = subject.repository.facts[file]
            lines = facts.identifiers.get(one.name, ()) if facts is not None else ()
            found.append((subject.tables.page_link(file), " ", *line_links(subject.tables.path(file), lines, 4)))
        if found:
            items.append((subject.link(index), ": ", *some(found, _MOST_TESTS, "; ")))
    if not items:
        count = counted(subject.tables.test_files, "test file")
        return [paragraph(f"Looked for names that {subject.file.display} defines in {count}; none found.")]
    head = f"Tests hold {counted(len(items), 'name')} defined here, found by the name alone:"
    return [paragraph(head), bullets(items, _MOST_DEFINITIONS)]


def _linked_from_tests(subject: Subject) -> list[Block]:
    files = {file for file, _ in subject.tables.referrers.get(subject.index, []) if subject.tables.is_test(file)}
    if not files:
        return [paragraph(f"Looked for links to {subject.file.display} in files of tests; none found.")]
    links: list[Runs] = [(subject.tables.page_link(file),) for file in sorted(files)]
    return [paragraph(f"{counted(len(links), 'file')} of tests link to it: ", *some(links, _MOST_NAMES))]


def _tests(subject: Subject, uses: Sequence[Use]) -> Runs:
    """The tests around uses, each with the line of the first."""
    first: dict[tuple[int, int], Use] = {}
    for use in sorted(uses, key=lambda use: (use.file, use.line)):
        first.setdefault((use.file, use.within), use)
    # An import at the top says nothing beside a test that uses what was imported.
    inside = [use for use in first.values() if use.within >= 0] or list(first.values())
    return some([_place(subject, use) for use in inside], _MOST_TESTS)


def _as_test(subject: Subject) -> list[Block]:
    """What a test file tests: its tests, and the definitions that they reach."""
    tests: list[Runs] = [
        (subject.link(index),)
        for index, one in enumerate(subject.facts.definitions)
        if one.kind in ("function", "method") and one.name.lower().startswith("test")
    ]
    reached: dict[int, dict[int, int]] = {}
    for use in subject.mentions:
        if use.sure and use.target.file != subject.index and not subject.tables.is_test(use.target.file):
            reached.setdefault(use.target.file, {}).setdefault(use.target.definition, use.line)
    blocks: list[Block] = []
    if tests:
        blocks.append(paragraph(Strong(counted(len(tests), "test")), ": ", *some(tests, _MOST_NAMES)))
    if reached:
        items: list[Runs] = []
        for file in sorted(reached, key=lambda file: (-len(reached[file]), file)):
            parts: list[Runs] = [
                (
                    subject.tables.definition_link(Place(file, index)),
                    " (",
                    line_link(subject.path, line),
                    ")",
                )
                for index, line in reached[file].items()
            ]
            items.append((subject.tables.page_link(file), ": ", *some(parts, _MOST_TESTS)))
        head = f"It reaches definitions of {counted(len(reached), 'file')} (the line of the first mention):"
        blocks += [paragraph(head), bullets(items, _MOST_DEFINITIONS)]
    if not blocks:
        name = subject.file.display
        blocks.append(paragraph(f"Looked for tests in {name} and for mentions of other files; none found."))
    return blocks
