"""A page, or a part of it, for a terminal."""

from __future__ import annotations

import re
from pathlib import Path

from pagedex.errors import PagedexError
from pagedex.output import names

_ANCHOR = re.compile(r'<a id="d-([^"]+)"></a>')


def shown(out: Path, what: str) -> str:
    """The Markdown of ``FILE``'s page, or of the definition in ``FILE:NAME``: by its dotted name, else by its last
    part.

    Raises:
        PagedexError: there is no such page or definition.
    """
    path, name = what, ""
    page = _page(out, path)
    if page is None and ":" in what:
        path, _, name = what.rpartition(":")
        page = _page(out, path)
    if page is None:
        raise PagedexError(f"{str(out)!r} has no page of {path!r}: give its path from the repository's root")
    return _part(page, path, name) if name else page


def _page(out: Path, path: str) -> str | None:
    file = out / names.of_file(path.removeprefix("./"), "docs", "md")
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PagedexError(f"{str(file)!r} can't be read: {error.strerror}") from error


def _part(page: str, path: str, name: str) -> str:
    anchors = [(found.start(), found.group(1)) for found in _ANCHOR.finditer(page)]
    found = [anchor for _, anchor in anchors if anchor == name]
    found = found or [anchor for _, anchor in anchors if anchor.rpartition(".")[2] == name]
    if not found:
        raise PagedexError(f"{path!r} defines no {name!r}")
    parts = []
    for wanted in found:
        start = next(at for at, anchor in anchors if anchor == wanted)
        after = [at for at, anchor in anchors if at > start and not anchor.startswith(wanted + ".")]
        section = page.find("\n## ", start)
        end = min([*after, *([section] if section >= 0 else [])], default=len(page))
        parts.append(page[start:end].partition("\n")[2].strip())
    return "\n\n".join(parts)
