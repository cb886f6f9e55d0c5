"""What a file's own documentation says under the title of one of a page's sections."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SECTIONS = (
    "File Metadata",
    "File Purpose",
    "Original Source",
    "High-Level Overview",
    "Detailed Analysis",
    "Architecture & Design",
    "Dependencies",
    "Code Patterns & Idioms",
    "Performance Considerations",
    "Security & Safety",
    "Testing & Usage",
    "Related Files",
    "Cross-References",
)

_UNDERLINE = re.compile(r"\s*([-=~^\"'*+#`])\1{2,}\s*")
_HASHES = re.compile(r"\s*(#{1,6})\s+(.*?)\s*#*\s*")


@dataclass(slots=True)
class Part:
    """A piece of a documentation and the line of the file where it begins."""

    text: str
    line: int


@dataclass(slots=True)
class Authored:
    """``rest`` is what stands under none of the sections' titles, its pieces in order."""

    parts: dict[str, Part] = field(default_factory=dict)
    rest: list[Part] = field(default_factory=list)


def _key(title: str) -> str:
    return " ".join(re.sub(r"\band\b", "&", title.lower()).replace("-", " ").split())


_TITLES = {_key(title): title for title in SECTIONS}


def authored_sections(doc: str, first_line: int) -> Authored:
    """Splits the documentation of a file, whose first line is ``first_line`` there.

    A section begins at its title, underlined, after ``##``, or on a line of its own with a colon; it ends at the next
    heading.
    """
    found = Authored()
    lines = doc.split("\n")
    title, begin, at = "", 0, 0
    while at < len(lines):
        heading = _heading(lines, at)
        # "Note:" alone on a line ends nothing: only the titles of sections are headings in that form.
        if heading is not None:
            name, height = heading
            _add(found, title, lines, begin, at, first_line)
            title = _TITLES.get(_key(name), "")
            begin = at + height if title else at
            at += height
        else:
            at += 1
    _add(found, title, lines, begin, len(lines), first_line)
    return found


def _heading(lines: list[str], at: int) -> tuple[str, int] | None:
    """The heading that begins in a line and how many lines it takes."""
    line = lines[at].strip()
    if not line:
        return None
    if (hashes := _HASHES.fullmatch(line)) is not None:
        return hashes.group(2), 1
    if at + 1 < len(lines) and _UNDERLINE.fullmatch(lines[at + 1]) and (at == 0 or not lines[at - 1].strip()):
        return line, 2
    if line.endswith(":") and _key(line[:-1]) in _TITLES:
        return line[:-1], 1
    return None


def _add(found: Authored, title: str, lines: list[str], begin: int, end: int, first_line: int) -> None:
    while begin < end and not lines[begin].strip():
        begin += 1
    while begin < end and not lines[end - 1].strip():
        end -= 1
    if begin == end:
        return
    part = Part("\n".join(lines[begin:end]), first_line + begin)
    if title and title not in found.parts:
        found.parts[title] = part
    else:
        found.rest.append(part)
