"""The file that a page is about, with what several of its sections need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from pagedex.model.blocks import Block, Code, Link, Runs, Strong, Text, To, ToLine, ToPage
from pagedex.model.facts import Definition, Facts, Import
from pagedex.model.ties import ImportTarget, Place, Repository, Use
from pagedex.pages.authored import Authored, authored_sections
from pagedex.pages.names import is_followed
from pagedex.pages.tables import Tables, is_document
from pagedex.words.identifiers import is_name
from pagedex.words.phrases import joined, line_links, paragraph, span_link

_NAME = re.compile(r"[^\W\d]\w*")
# A word of prose seldom means an attribute or a local name of that spelling.
_LINKED_INSIDE = frozenset(("class", "method", "property", "function", "struct", "enum", "interface", "trait"))
_MOST_LINES = 12
_NO_FACTS = Facts("", "text")


class Subject:
    """``facts`` are empty where the file wasn't read; ``text`` is None where it has none that can be shown."""

    def __init__(self, tables: Tables, index: int, text: str | None) -> None:
        self.tables = tables
        self.repository: Repository = tables.repository
        self.index = index
        self.file = self.repository.files[index]
        self.text = text
        facts = self.repository.facts[index]
        self.is_read = facts is not None
        self.facts = facts if facts is not None else _NO_FACTS
        self.path = self.file.path
        self.is_document = is_document(facts)
        self.is_followed = is_followed(self.facts)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n") if self.text is not None else []

    @cached_property
    def authored(self) -> Authored:
        """The file's own documentation, what it says under a section's title apart from the rest."""
        return authored_sections(self.facts.doc, self.facts.doc_line)

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """A definition -> those that stand in it, in the order of lines; -1 has the top's."""
        found: dict[int, list[int]] = {}
        for index, one in enumerate(self.facts.definitions):
            # A definition's parent comes before it: what says otherwise would be a circle.
            found.setdefault(one.parent if one.parent < index else -1, []).append(index)
        for indexes in found.values():
            indexes.sort(key=lambda index: (self.facts.definitions[index].line, index))
        return found

    @property
    def top(self) -> list[int]:
        return self.children.get(-1, [])

    def in_order(self) -> Iterator[tuple[int, int]]:
        """Each definition and how deep it stands in others, what stands in one right after it."""
        waiting = [(index, 0) for index in reversed(self.top)]
        while waiting:
            index, depth = waiting.pop()
            yield index, depth
            waiting += ((child, depth + 1) for child in reversed(self.children.get(index, [])))

    @cached_property
    def top_of(self) -> list[int]:
        """Each definition -> the one at the top that it stands in, or itself."""
        found: list[int] = []
        for index, one in enumerate(self.facts.definitions):
            found.append(found[one.parent] if 0 <= one.parent < index else index)
        return found

    @property
    def mentions(self) -> list[Use]:
        return self.repository.mentions[self.index]

    @property
    def imports(self) -> list[tuple[Import, ImportTarget]]:
        return list(zip(self.facts.imports, self.repository.imports[self.index], strict=True))

    def uses(self, definition: int) -> list[Use]:
        return self.repository.uses[self.index].get(definition, [])

    def named_in(self, definition: int) -> list[int]:
        """The files in which the name of a definition stands, for all that is known meaning it."""
        name = self.definition(definition).name
        if self.place(definition) not in self.tables.names.defined.get(name, ()):
            return []
        return self.tables.names.files.get(name, [])

    def place(self, definition: int) -> Place:
        return Place(self.index, definition)

    def anchor(self, definition: int) -> str:
        return self.tables.anchors(self.index)[definition]

    def link(self, definition: int) -> Link:
        return self.tables.definition_link(self.place(definition))

    def line(self, line: int) -> Link:
        return Link(f"line {line}", ToLine(self.path, line))

    def relative(self, place: Place) -> Runs:
        """The link to a definition, with its file and line where that is another file's."""
        link = self.tables.definition_link(place)
        if place.file == self.index:
            return (link,)
        line, path = self.repository.definition(place).line, self.tables.path(place.file)
        return (link, " (", Link(f"{self.tables.display(place.file)}:{line}", ToLine(path, line)), ")")

    def bases(self, index: int) -> list[tuple[str, Place | None]]:
        """The bases of a class as they are written, and where they are defined in the repository."""
        known = {base.text: base.place for base in self.repository.bases.get(self.place(index), [])}
        return [(text, known.get(text)) for text in self.definition(index).bases]

    def raised(self, raises: Iterable[tuple[str, int]]) -> Runs:
        """Exceptions with the lines where they are raised."""
        lines: dict[str, set[int]] = {}
        for what, line in raises:
            lines.setdefault(what, set()).add(line)
        parts: list[Runs] = [
            (Code(what), " at ", *line_links(self.path, sorted(where), _MOST_LINES)) for what, where in lines.items()
        ]
        return joined(parts, "; ")

    def definition(self, index: int) -> Definition:
        return self.facts.definitions[index]

    @cached_property
    def _named(self) -> dict[str, To]:
        """Names that a text in this file may mean: those it mentions, and above them its own."""
        found: dict[str, To] = {}
        for use in self.mentions:
            if use.sure and use.target.file != self.index:
                name = self.repository.definition(use.target).name
                if name not in found:
                    found[name] = self.tables.definition_link(use.target).to
        own: dict[str, To] = {}
        several: set[str] = set()
        for index, one in enumerate(self.facts.definitions if not self.is_document else ()):
            if one.name in own:
                several.add(one.name)
            elif one.parent < 0 or one.kind in _LINKED_INSIDE:
                own[one.name] = ToPage(self.path, self.anchor(index))
        found.update((name, to) for name, to in own.items() if name not in several)
        return found

    def written(self, text: str) -> Text:
        """What an author wrote here, with the names in it that lead somewhere."""
        names = {
            word: self._named[word]
            for word in dict.fromkeys(_NAME.findall(text))
            if word in self._named and (is_name(word) or word[0].isupper() or f"`{word}`" in text)
        }
        return Text(text, names)

    def said(self, title: str) -> list[Block]:
        """What the file's documentation says under this section's title, if it does."""
        part = self.authored.parts.get(title)
        if part is None:
            return []
        last = part.line + part.text.count("\n")
        cited = span_link(self.path, part.line, last)
        return [paragraph(Strong("The author"), ", ", cited, ":"), self.written(part.text)]
