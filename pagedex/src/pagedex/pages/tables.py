"""What the pages of many files need of the whole repository, each part made when it is first asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from functools import cached_property, lru_cache

from pagedex.model.anchors import definition_anchors
from pagedex.model.blocks import Link, ToPage
from pagedex.model.facts import Facts
from pagedex.model.ties import Place, Repository
from pagedex.pages.names import Names

TextOf = Callable[[int], "str | None"]

# Languages of prose: what stands in such a file is neither code nor test of what it mentions.
_DOCUMENTS = frozenset(("markdown", "rst", "text", "restructuredtext", "asciidoc", "tex"))
_FILES_KEPT = 4096
_LINKS_KEPT = 1 << 16


class Tables:
    """A repository, the texts of its files, and what can be told of it by looking at all of its files once.

    ``text_of`` gives a file's text, or None where it has none.
    """

    def __init__(self, repository: Repository, text_of: TextOf) -> None:
        self.repository = repository
        self.text_of = text_of
        self.names = Names(repository)
        self.anchors = lru_cache(maxsize=_FILES_KEPT)(self._anchors)
        self.mentioned_files = lru_cache(maxsize=_FILES_KEPT)(self._mentioned_files)
        # Several sections of a page lead to the same definitions.
        self.definition_link = lru_cache(maxsize=_LINKS_KEPT)(self._definition_link)
        self._starts = lru_cache(maxsize=_FILES_KEPT)(self._starts_of)

    def _anchors(self, file: int) -> list[str]:
        facts = self.repository.facts[file]
        return definition_anchors(facts.definitions) if facts is not None else []

    def _mentioned_files(self, file: int) -> Counter[int]:
        """How often a file surely mentions definitions of each other file."""
        return Counter(
            use.target.file for use in self.repository.mentions[file] if use.sure and use.target.file != file
        )

    @cached_property
    def referrers(self) -> dict[int, list[tuple[int, int]]]:
        """File -> the (document, index of its link) that lead to it."""
        found: dict[int, list[tuple[int, int]]] = {}
        for document, targets in enumerate(self.repository.references):
            for index, file in enumerate(targets):
                if file >= 0 and file != document:
                    found.setdefault(file, []).append((document, index))
        return found

    @cached_property
    def test_files(self) -> int:
        return sum(file.test for file in self.repository.files)

    def path(self, file: int) -> str:
        return self.repository.files[file].path

    def display(self, file: int) -> str:
        return self.repository.files[file].display

    def is_test(self, file: int) -> bool:
        return self.repository.files[file].test

    def is_document(self, file: int) -> bool:
        return is_document(self.repository.facts[file])

    def kind_of(self, file: int) -> str:
        return "documents" if self.is_document(file) else "tests" if self.is_test(file) else "code"

    def page_link(self, file: int) -> Link:
        return Link(self.display(file), ToPage(self.path(file)), code=True)

    def _definition_link(self, place: Place) -> Link:
        """The full name of a definition, leading to where its page says all of it."""
        anchor = self.anchors(place.file)[place.definition]
        return Link(self.repository.definition(place).qualname, ToPage(self.path(place.file), anchor), code=True)

    def next_definition(self, file: int, line: int) -> int:
        """The definition that begins next after a line, -1 where none does."""
        starts = self._starts(file)
        at = bisect_left(starts, (line + 1, -1))
        return starts[at][1] if at < len(starts) else -1

    def is_decorator(self, file: int, line: int, name: str) -> bool:
        """Whether a mention of ``name`` in this line decorates the definition that comes next."""
        index = self.next_definition(file, line)
        if index < 0:
            return False
        decorators = self.repository.definition(Place(file, index)).decorators
        return any(text.partition("(")[0].rpartition(".")[2] == name for text in decorators)

    def _starts_of(self, file: int) -> list[tuple[int, int]]:
        facts = self.repository.facts[file]
        return sorted((one.line, index) for index, one in enumerate(facts.definitions)) if facts is not None else []


def is_document(facts: Facts | None) -> bool:
    return facts is not None and facts.lexer.lower() in _DOCUMENTS
