"""What griffe's visit of a file adds: ``__all__`` as it is put together, docstrings below assignments, its labels."""

from __future__ import annotations

import logging
from pathlib import Path

import griffe

from pagedex.model.facts import Facts

# griffe logs what it can't resolve without the packages that are imported; that is known.
logging.getLogger("griffe").setLevel(logging.CRITICAL)

# Labels of griffe's that say something which the file's own text doesn't at a glance.
_LABELS = {"dataclass": "dataclass", "cached": "cached", "writable": "writable", "deletable": "deletable"}


def add_from_griffe(facts: Facts, path: str, text: str) -> None:
    """Fills what is missing in ``facts``; a file that griffe can't visit stays as it is."""
    try:
        module = griffe.visit(Path(path).stem or "module", Path(path), text)
    except (SyntaxError, ValueError, RecursionError, griffe.GriffeError):
        return
    except Exception as error:  # noqa: BLE001 - a visit of unusual code fails in any way; the rest stands without it
        del error
        return
    if isinstance(module.exports, (list, set)):
        facts.exports = tuple(one if isinstance(one, str) else str(one.name) for one in module.exports)
    by_place = {(one.name, one.line): one for one in facts.definitions}
    waiting: list[griffe.Object] = [module]
    while waiting:
        for member in waiting.pop().members.values():
            if isinstance(member, griffe.Alias) or member.lineno is None:
                continue
            if member.is_class:
                waiting.append(member)
            known = by_place.get((member.name, member.lineno))
            if known is None:
                continue
            labels = [label for name, label in _LABELS.items() if name in member.labels and label not in known.labels]
            known.labels = (*known.labels, *labels)
            if member.docstring and not known.doc:
                known.doc, known.doc_line = member.docstring.value, member.docstring.lineno or 0
