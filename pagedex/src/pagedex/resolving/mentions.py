"""Every mention of a definition in a Python file: where it stands, in which definition, and whether it is sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pagedex.model.code import Op
from pagedex.model.facts import Facts
from pagedex.model.ties import Place, Use
from pagedex.resolving.inference import Inference

# Where only the name agrees, that is said of names that few definitions bear; of others it would say nothing.
MOST_CANDIDATES = 6
_NAMED = frozenset((Op.NAME, Op.ATTRIBUTE, Op.IMPORTED, Op.EXPORTED))


def mentions_of(
    file: int,
    facts: Sequence[Facts | None],
    lines: Sequence[str],
    inference: Inference,
    by_name: Mapping[str, Sequence[Place]],
    overridden: Mapping[Place, Sequence[Place]],
) -> list[Use]:
    """What a file mentions, in the order of lines.

    ``by_name`` has the members of classes by their names: an attribute of what nothing is known of may be any of them.
    ``overridden`` has the methods that override one: what calls the one may reach them.
    """
    one = facts[file]
    if one is None or one.code is None:
        return []
    code = one.code
    own = {(definition.line, definition.column): index for index, definition in enumerate(one.definitions)}
    found: dict[tuple[int, int, Place], Use] = {}
    for row, op in enumerate(code.op):
        line = code.line[row]
        if op not in _NAMED or not line:
            continue
        name, column = code.texts[code.name[row]], code.column[row]
        places, known = inference.places(file, row)
        maybe: list[Place] = []
        if op == Op.ATTRIBUTE:
            if not known:
                candidates = by_name.get(name, ())
                maybe += candidates if len(candidates) <= MOST_CANDIDATES else ()
            for place in places:
                maybe += (other for other in overridden.get(place, ())[:MOST_CANDIDATES] if other not in places)
        if not places and not maybe:
            continue
        length = len(name) if line <= len(lines) and lines[line - 1].startswith(name, column) else 0
        for sure, targets in ((True, places), (False, maybe)):
            for place in targets:
                if place.file == file and own.get((line, column)) == place.definition:
                    continue  # the definition itself
                found.setdefault(
                    (line, column, place),
                    Use(file, line, column if length else 0, length, code.within[row], place, sure),
                )
    return sorted(found.values(), key=lambda use: (use.line, use.column, use.target))
