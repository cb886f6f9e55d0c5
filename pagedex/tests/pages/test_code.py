"""Patterns, findings, names of other languages, examples."""

from __future__ import annotations

from pagedex.model.facts import Definition, Facts, Finding
from pagedex.model.files import FileKind
from pagedex.model.ties import Place
from pagedex.pages.file_page import file_page
from pagedex.pages.tables import Tables
from tests.support.made import Made, defined
from tests.support.plain import lines_of


def python(*definitions: Definition, **rest: object) -> Facts:
    facts = Facts("Python", "python", definitions=list(definitions))
    for name, value in rest.items():
        setattr(facts, name, value)
    return facts


def lines_for(made: Made, file: int, title: str) -> list[str]:
    return lines_of(file_page(Tables(made.repository, made.text_of), file, made.texts[file]), title)


def test_patterns_are_told_from_labels_methods_and_decorators():
    made = Made()
    file = made.add(
        "a.py",
        "\n" * 20,
        python(
            defined("Tree", "class", 2, end_line=9, labels=("abstract", "dataclass"), decorators=("dataclass",)),
            defined("__enter__", "method", 4, qualname="Tree.__enter__", parent=0),
            defined("__exit__", "method", 5, qualname="Tree.__exit__", parent=0),
            defined("wait", "method", 6, qualname="Tree.wait", parent=0, labels=("async", "abstract")),
            defined("grow", "function", 12, decorators=("registry.register('grow')",)),
        ),
    )
    lines = lines_for(made, file, "Code Patterns & Idioms")
    assert lines[:-1] == [
        "- Abstract classes (1): [Tree] ([2])",
        "- Dataclasses (1): [Tree] ([2])",
        "- Abstract methods (1): [Tree.wait] ([6])",
        "- Coroutines (1): [Tree.wait] ([6])",
        "- Context managers (1): [Tree] ([2])",
        "- Registrations by decorator (1): `@registry.register('grow')` at [12]",
        "- Decorators used (1): `@dataclass` at [2]",
    ]
    assert lines[-1].startswith("Looked for: enumerations, protocols, ")
    assert "dataclasses" not in lines[-1]


def test_a_decorator_is_known_by_what_it_decorates():
    made = Made()
    file = made.add("a.py", "def cached(f): ...\n", python(defined("cached", "function", 1)))
    user = made.add(
        "b.py",
        "@cached\ndef one(): ...\ncached(one)\ndef two(): ...\n",
        python(defined("one", "function", 2, decorators=("cached",)), defined("two", "function", 4)),
    )
    made.mention(user, 1, 1, Place(file, 0))
    made.mention(user, 3, 0, Place(file, 0))
    line = lines_for(made, file, "Code Patterns & Idioms")[0]
    assert line == "- Decorators defined here (1): [cached] ([1]), which decorates 1"


def test_a_finding_on_a_decorator_names_what_it_decorates():
    made = Made()
    facts = python(
        defined("Tree", "class", 1, end_line=5),
        defined("height", "method", 3, qualname="Tree.height", parent=0),
        findings=[Finding("performance", "caches", 2, "@cache", 0), Finding("performance", "caches", 4, "cache(x)", 0)],
        looked_for={"performance": ("caches",)},
    )
    file = made.add("a.py", "\n" * 5, facts)
    assert lines_for(made, file, "Performance Considerations") == [
        "Caches, 2 places:",
        "- [line 2] on [Tree.height]: `@cache`",
        "- [line 4] in [Tree]: `cache(x)`",
    ]


def test_where_nothing_is_looked_for_that_is_said():
    made = Made()
    file = made.add("a.toml", "\n", Facts("TOML", "toml"))
    assert lines_for(made, file, "Security & Safety") == [
        "Looked for nothing: there is no list of what to look for in TOML."
    ]


def test_of_other_languages_names_are_found_and_nothing_is_said_of_mentions():
    made = Made()
    header = Facts("C++", "cpp", definitions=[defined("PackedTree", "class", 1)], identifiers={"PackedTree": (1, 4)})
    file = made.add("a.hpp", "\n" * 4, header)
    made.add("b.cpp", "\n" * 9, Facts("C++", "cpp", identifiers={"PackedTree": (2, 9)}))
    made.add("test_c.py", "\n", python(identifiers={"PackedTree": (1,)}), test=True)
    assert lines_for(made, file, "Detailed Analysis")[2:] == [
        "Named in 3 files, found by the name alone: this file [4]; [b.cpp] [2], [9]; [test_c.py] [1]"
    ]
    assert lines_for(made, file, "High-Level Overview")[1:] == [
        "Name | Kind | Line | Other files with its name | Says",
        "[PackedTree] | class | [1] | 2 | ",
    ]
    assert lines_for(made, file, "Testing & Usage") == [
        "Tests hold 1 name defined here, found by the name alone:",
        "- [PackedTree]: [test_c.py] [1]",
    ]


def test_a_name_of_many_definitions_or_a_plain_word_says_nothing():
    made = Made()
    for number in range(5):
        made.add(f"a{number}.hpp", "\n", Facts("C++", "cpp", definitions=[defined("PackedTree", "class", 1)]))
    plain = made.add("b.hpp", "\n", Facts("C++", "cpp", definitions=[defined("save", "function", 1)]))
    made.add("c.cpp", "\n", Facts("C++", "cpp", identifiers={"PackedTree": (1,), "save": (1,)}))
    assert not any(line.startswith("Named") for line in lines_for(made, 0, "Detailed Analysis"))
    assert not any(line.startswith("Named") for line in lines_for(made, plain, "Detailed Analysis"))


def test_the_example_is_a_call_in_an_example_if_there_is_one():
    made = Made()
    go = python(defined("go", "function", 1))
    file = made.add("core.py", "def go(): ...\n", go)
    example = made.add("examples/a.py", "x = go\n\n\nif x:\n    first()\n    go(1)\n    last()\n\nend()\n", python())
    code = made.add("other.py", "go()\n", python())
    test = made.add("tests/test_a.py", "go(2)\n", python(), test=True)
    made.mention(code, 1, 0, Place(file, 0))
    made.mention(example, 1, 4, Place(file, 0))
    made.mention(example, 6, 4, Place(file, 0))
    made.mention(test, 1, 0, Place(file, 0))
    assert lines_for(made, file, "Testing & Usage")[-5:] == [
        "In use: [go], [examples/a.py:6]:",
        "    if x:",
        "        first()",
        "        go(1)",
        "        last()",
    ]


def test_without_tests_in_the_repository_that_is_said():
    made = Made()
    file = made.add("core.py", "def go(): ...\n", python(defined("go", "function", 1)))
    assert lines_for(made, file, "Testing & Usage") == ["Looked for test files in the repository; none found."]


def test_a_link_says_where_it_leads():
    made = Made()
    file = made.add_unread("a", FileKind.LINK, "symbolic link to b")
    assert lines_for(made, file, "Original Source") == ["Nothing is shown: `a` is a symbolic link to b."]
