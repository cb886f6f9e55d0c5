"""The anchors of definitions in the page of their file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pagedex.model.facts import Definition

# What would have to be escaped in an address or an attribute.
_ODD = re.compile(r"[^\w.]+")
_LONGEST = 120


def definition_anchors(definitions: Sequence[Definition]) -> list[str]:
    """The anchor of each definition of a file: ``d-Reader.close``, and ``d-Reader.close-2`` where the name comes again.

    No two of a file agree, and none agrees with a section's.
    """
    taken: set[str] = set()
    last: dict[str, int] = {}
    anchors = []
    for one in definitions:
        anchor = wanted = "d-" + _ODD.sub("-", one.qualname)[:_LONGEST].strip("-")
        count = last.get(wanted, 0)
        while not count or anchor in taken:
            count += 1
            anchor = wanted if count == 1 else f"{wanted}-{count}"
        last[wanted] = count
        taken.add(anchor)
        anchors.append(anchor)
    return anchors
