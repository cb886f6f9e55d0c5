"""Where names stand, for what isn't followed: languages without a resolver, and documents about any of them."""

from __future__ import annotations

from functools import cached_property

from pagedex.model.facts import Definition, Facts
from pagedex.model.ties import Place, Repository
from pagedex.words.identifiers import is_name

# A name that many definitions bear says nothing about any of them.
_MOST_DEFINITIONS = 4
_SHORTEST = 4
_KINDS = frozenset(
    """
    class struct union enum interface trait type namespace function method macro constant target
    """.split()
)


def is_followed(facts: Facts) -> bool:
    """Whether mentions of and in a file of this language are found by what the code says, and not by names alone."""
    return facts.language == "Python"


class Names:
    """Definitions by telling names, and the files in which each of these names stands."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @cached_property
    def defined(self) -> dict[str, list[Place]]:
        """Name -> its definitions, where it has few and can hardly be meant otherwise."""
        found: dict[str, list[Place]] = {}
        for file, facts in enumerate(self._repository.facts):
            # Nothing outside of tests means what a test defines.
            if facts is None or self._repository.files[file].test:
                continue
            for index, one in enumerate(facts.definitions):
                if _is_telling(one):
                    found.setdefault(one.name, []).append(Place(file, index))
        return {name: places for name, places in found.items() if len(places) <= _MOST_DEFINITIONS}

    @cached_property
    def files(self) -> dict[str, list[int]]:
        """Name of ``defined`` -> the files in which it stands, without those where it would be found by following."""
        facts = self._repository.facts
        by_name_alone = {
            name
            for name, places in self.defined.items()
            if not any((one := facts[place.file]) is not None and is_followed(one) for place in places)
        }
        found: dict[str, list[int]] = {}
        for file, one in enumerate(facts):
            if one is not None:
                names = by_name_alone if is_followed(one) else self.defined.keys()
                for name in one.identifiers.keys() & names:
                    found.setdefault(name, []).append(file)
        return found


def _is_telling(one: Definition) -> bool:
    plain = one.name.islower() and "_" not in one.name.strip("_")
    return one.kind in _KINDS and one.public and len(one.name) >= _SHORTEST and (is_name(one.name) or not plain)
