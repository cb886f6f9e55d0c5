"""All languages, and which of them a file is in."""

from __future__ import annotations

import re

from pagedex.languages.c import CPP, CUDA, C
from pagedex.languages.contract import Language
from pagedex.languages.go import GO
from pagedex.languages.java import JAVA
from pagedex.languages.javascript import JAVASCRIPT, TYPESCRIPT
from pagedex.languages.markdown import MARKDOWN
from pagedex.languages.notebook import NOTEBOOK
from pagedex.languages.plain import PLAIN
from pagedex.languages.python import PYTHON
from pagedex.languages.restructured import RESTRUCTURED
from pagedex.languages.rust import RUST
from pagedex.languages.shell import SHELL

LANGUAGES: tuple[Language, ...] = (
    C,
    CPP,
    CUDA,
    GO,
    JAVA,
    JAVASCRIPT,
    MARKDOWN,
    NOTEBOOK,
    PYTHON,
    RESTRUCTURED,
    RUST,
    SHELL,
    TYPESCRIPT,
    PLAIN,
)

_BY_NAME = {name: one for one in LANGUAGES for name in one.names}
_BY_SUFFIX = {suffix: one for one in LANGUAGES for suffix in one.suffixes}
_BY_INTERPRETER = {name: one for one in LANGUAGES for name in one.interpreters}

# "#!/usr/bin/env -S python3.11 -u": the interpreter's path, or env with options and assignments before its name.
_INTERPRETER = re.compile(r"^#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S*\s+)*(?:\S*/)?)?([^\s/]+)")
_VERSION = re.compile(r"[\d.]+$")


def language_of(path: str, first_line: str) -> Language:
    """The language of a file by its whole name, by its longest known suffix, or by the interpreter that its first line
    names; plain text where none of them is known."""
    name = path.rpartition("/")[2].lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    # A leading dot begins a name, not a suffix.
    dot = name.find(".", 1)
    while dot >= 0:
        if name[dot:] in _BY_SUFFIX:
            return _BY_SUFFIX[name[dot:]]
        dot = name.find(".", dot + 1)
    match = _INTERPRETER.match(first_line)
    if match is not None:
        called = match[1].lower()
        return _BY_INTERPRETER.get(called) or _BY_INTERPRETER.get(_VERSION.sub("", called)) or PLAIN
    return PLAIN
