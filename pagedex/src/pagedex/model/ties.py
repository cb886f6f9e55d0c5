"""What the files of a repository are to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pagedex.model.facts import Definition, Facts
from pagedex.model.files import SourceFile


class Place(NamedTuple):
    """A definition: the file's index in the repository, the definition's in the file."""

    file: int
    definition: int


class Use(NamedTuple):
    """One mention of a definition. ``within`` is the definition around it in its file, -1 at the top. ``sure`` says
    that it can be told from the code alone; otherwise only the name agrees, and pages say "maybe"."""

    file: int
    line: int
    column: int
    length: int
    within: int
    target: Place
    sure: bool


@dataclass(slots=True)
class ImportTarget:
    """Where an import leads: a file's index, or -1 and the name of what lies outside the repository."""

    file: int
    outside: str = ""


@dataclass(slots=True)
class Base:
    """A base class as it is written, and where it is defined if that is in the repository."""

    text: str
    place: Place | None


@dataclass(slots=True)
class Repository:
    """Everything that pages are made from. Files are in the order of their paths; lists run parallel to them."""

    name: str
    revision: str  # git's commit, with "-dirty" where files differ; empty without git
    files: list[SourceFile]
    facts: list[Facts | None]  # None: not read
    imports: list[list[ImportTarget]] = field(default_factory=list)  # parallel to each file's Facts.imports
    importers: list[list[tuple[int, int]]] = field(default_factory=list)  # (file, index of its import), ascending
    references: list[list[int]] = field(default_factory=list)  # parallel to Facts.references: a file's index or -1
    mentions: list[list[Use]] = field(default_factory=list)  # what each file mentions, in the order of lines
    uses: list[dict[int, list[Use]]] = field(
        default_factory=list
    )  # of each file's definitions: where they are mentioned
    bases: dict[Place, list[Base]] = field(default_factory=dict)
    subclasses: dict[Place, list[Place]] = field(default_factory=dict)
    overrides: dict[Place, list[Place]] = field(default_factory=dict)  # a method -> those that it overrides
    overridden: dict[Place, list[Place]] = field(default_factory=dict)

    def definition(self, place: Place) -> Definition:
        facts = self.facts[place.file]
        assert facts is not None
        return facts.definitions[place.definition]
