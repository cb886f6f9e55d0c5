"""A page, or a part of it, for a terminal."""

from __future__ import annotations

import re
from pathlib import Path

from pagedex.errors import PagedexError
from pagedex.output import names

_ANCHOR = re.compile(r'<a id="d-([^"]+)"></a>')


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """The text with its control characters, but for tabs and ends of lines, as a reader would write them."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


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
    path = path.removeprefix("./")
    if path.startswith("/") or ".." in path.split("/"):
        return None
    file = out / names.of_file(path, "docs", "md")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PagedexError(f"{str(file)!r} isn't UTF-8, so it isn't as it was written: build again") from error
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
