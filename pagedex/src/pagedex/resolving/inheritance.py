"""Who inherits from whom, and which methods override which."""

from __future__ import annotations

from collections.abc import Sequence

from pagedex.model.facts import Facts
from pagedex.model.ties import Base, Place, Repository
from pagedex.resolving.inference import Inference


def add_inheritance(repository: Repository, inference: Inference) -> None:
    """Fills ``bases``, ``subclasses``, ``overrides`` and ``overridden``."""
    facts = repository.facts
    members = [_members(one) for one in facts]
    for file, one in enumerate(facts):
        if one is None or one.code is None:
            continue
        for index, class_ in sorted(one.code.classes.items()):
            place = Place(file, index)
            bases = []
            for text, row in zip(one.definitions[index].bases, class_.bases, strict=False):
                places = inference.class_places(file, row)
                bases.append(Base(text, places[0] if places else None))
                for base in places:
                    _append(repository.subclasses, base, place)
            if bases:
                repository.bases[place] = bases
            above = inference.order(place)[1:]
            for name, method in members[file].get(index, {}).items():
                nearest = next((found for base in above if (found := _member(members, base, name)) is not None), None)
                if nearest is not None:
                    _append(repository.overrides, Place(file, method), nearest)
                    _append(repository.overridden, nearest, Place(file, method))


def _members(facts: Facts | None) -> dict[int, dict[str, int]]:
    """Class -> name -> the method, property or attribute that its body defines; the first of several."""
    found: dict[int, dict[str, int]] = {}
    for index, one in enumerate(facts.definitions if facts is not None else ()):
        if one.parent >= 0 and one.kind in ("method", "property", "attribute", "constant"):
            found.setdefault(one.parent, {}).setdefault(one.name, index)
    return found


def _member(members: Sequence[dict[int, dict[str, int]]], place: Place, name: str) -> Place | None:
    index = members[place.file].get(place.definition, {}).get(name)
    return Place(place.file, index) if index is not None else None


def _append(table: dict[Place, list[Place]], key: Place, value: Place) -> None:
    known = table.setdefault(key, [])
    if value not in known:
        known.append(value)
