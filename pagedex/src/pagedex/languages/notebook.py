"""Jupyter notebooks: their Markdown as a document, their code as in a document's fences.

Lines are those of the JSON file. They can be told where each line of a cell stands on one of its own, as Jupyter
writes them; any other notebook is read as plain text. Outputs aren't read.
"""

from __future__ import annotations

import json
import re

from pagedex.languages.contract import Language
from pagedex.languages.markdown import read_cells
from pagedex.languages.plain import read_plain
from pagedex.languages.prose import add_code
from pagedex.languages.tokens import Index
from pagedex.model.facts import Facts

_CELL = re.compile(r'^\s*"cell_type": "(\w+)",?\s*$')
_SOURCE = re.compile(r'^\s*"source": \[\s*$')
_END = re.compile(r"^\s*\],?\s*$")
_LANGUAGE = re.compile(r'"language": "([\w+#-]+)"')


def read_notebook(path: str, text: str) -> Facts:
    """The facts of a notebook: see above."""
    lines = text.split("\n")
    cells = _cells(lines)
    if not cells:
        return read_plain(path, text)
    facts = Facts("Jupyter notebook", "json")
    names, words = Index(), Index()
    named = _LANGUAGE.search(text)
    language = named[1] if named else "python"
    # The document is the file with all other lines blank, so that its lines are the file's.
    document = [""] * len(lines)
    for kind, first, source in cells:
        if kind == "markdown":
            document[first : first + len(source)] = source
        elif kind == "code":
            add_code(language, "\n".join(source), first + 1, names, words)
    read_cells(document, facts, names, words)
    facts.identifiers, facts.words = names.frozen(), words.frozen()
    return facts


def _cells(lines: list[str]) -> list[tuple[str, int, list[str]]]:
    """The kind of each cell, the row of its first line, and its lines."""
    cells = []
    kind = ""
    row = 0
    while row < len(lines):
        line = lines[row]
        row += 1
        if (match := _CELL.match(line)) is not None:
            kind = match[1]
        elif _SOURCE.match(line):
            first, source = row, []
            while row < len(lines) and not _END.match(lines[row]):
                source.append(_string(lines[row]))
                row += 1
            cells.append((kind, first, source))
    return cells


def _string(line: str) -> str:
    try:
        value = json.loads(line.strip().rstrip(","))
    except ValueError:
        return ""
    return value.replace("\n", " ").rstrip() if isinstance(value, str) else ""


NOTEBOOK = Language("Jupyter notebook", "json", read_notebook, 1, suffixes=(".ipynb",))
