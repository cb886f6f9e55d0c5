"""What a language finds in one file by itself, without looking at any other."""

from __future__ import annotations

from dataclasses import dataclass, field

from pagedex.model.code import Code

# Kinds of definitions, in the order in which pages and indexes show them, with their titles there.
KINDS = {
    "class": "Classes",
    "struct": "Structs",
    "union": "Unions",
    "enum": "Enums",
    "interface": "Interfaces",
    "trait": "Traits",
    "type": "Types",
    "implementation": "Implementations",
    "module": "Modules",
    "namespace": "Namespaces",
    "function": "Functions",
    "method": "Methods",
    "property": "Properties",
    "macro": "Macros",
    "constant": "Constants",
    "variable": "Variables",
    "attribute": "Attributes",
    "member": "Members",
    "section": "Sections",
    "target": "Targets",
}


@dataclass(slots=True)
class Definition:
    """Something with a name and a place: a class, a function, a constant, the section of a document.

    ``line`` and ``end_line`` count from 1 and include both ends; ``line`` is where the name stands, decorators may come
    before. ``qualname`` is unique enough for people, not for programs: a definition is known by its index in the file.
    ``parent`` is the index of the definition it stands in. ``value`` is the text of a constant's value.
    """

    name: str
    qualname: str
    kind: str
    line: int
    end_line: int
    column: int = 0  # of the name, in characters from 0
    signature: str = ""
    doc: str = ""
    doc_line: int = 0
    decorators: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    raises: tuple[tuple[str, int], ...] = ()  # what, line
    labels: tuple[str, ...] = ()  # "async", "abstract", "staticmethod", "dataclass", "generator", "overload", ...
    value: str = ""
    parent: int = -1
    public: bool = True


@dataclass(slots=True)
class Import:
    """``import module``, ``from module import name as alias``, ``#include "module"``, ``use module::name``.

    ``module`` is as it is written, without leading dots, whose number is ``level``. ``name`` is ``"*"`` for all names,
    empty where the module itself is imported. ``kind`` is "import", "include", "use", "require", "source" or "link".
    """

    line: int
    module: str
    name: str = ""
    alias: str = ""
    level: int = 0
    kind: str = "import"
    typing_only: bool = False
    top: bool = True  # at the module's level, so that it is imported whenever the file is
    column: int = 0


@dataclass(slots=True)
class Reference:
    """A link in a document: to a file of the repository, a section or an address."""

    line: int
    text: str
    target: str


@dataclass(slots=True)
class Finding:
    """What a reviewer looks for, with its line. ``section`` is "security", "performance" or "patterns"; ``topic`` one
    of those that the language says it looks for; ``text`` says what it is, with the code where that is short."""

    section: str
    topic: str
    line: int
    text: str
    definition: int = -1


@dataclass(slots=True)
class Problem:
    """Why a file could be read only in part."""

    line: int
    text: str


@dataclass(slots=True)
class Facts:
    """All of one file. ``identifiers`` and ``words`` lead to the lines where they stand, ascending; words are in lower
    case, of documentation, comments and prose only, stop words left out."""

    language: str  # as people write it: "Python", "C++"
    lexer: str  # Pygments' name of it, "text" where there is none
    doc: str = ""  # of the file: the module's docstring, the leading comment, the first paragraph
    doc_line: int = 0
    definitions: list[Definition] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    identifiers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    words: dict[str, tuple[int, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    looked_for: dict[str, tuple[str, ...]] = field(default_factory=dict)  # section -> topics
    problems: list[Problem] = field(default_factory=list)
    exports: tuple[str, ...] | None = None  # Python's __all__, where it can be told
    code: Code | None = None  # Python only: what resolving needs; dropped afterwards

    def enclosing(self, line: int) -> int:
        """The index of the innermost definition around a line, -1 where there is none."""
        best, size = -1, 1 << 60
        for index, one in enumerate(self.definitions):
            if one.line <= line <= one.end_line and one.end_line - one.line < size:
                best, size = index, one.end_line - one.line
        return best
