"""Every link of an output: that its file is there, that its place in the file is there, that the line it cites exists.

Pages are checked as they lie on the disk, by what a browser or a code host would follow, and not by what made them.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from pagedex.model.blocks import anchor_of
from pagedex.reading.text import decode, line_count

_HREF = re.compile(r"""<(?:a|link|script|img|image)\b[^>]*?\s(?:href|src)="([^"]*)\"""")
_ID = re.compile(r"""\sid="([^"]+)\"""")
# Markdown as pages hold it: fences and spans of code, which have no links, links, headings.
_FENCE = re.compile(r"(?ms)^(`{3,})[^\n`]*\n.*?^\1`*[ ]*$")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_TARGET = re.compile(r"(?<!\\)\]\(([^)\s]*)\)")
_LINK = re.compile(r"\[((?:[^\]\\]|\\.)*)\]\([^)\s]*\)")
_HEADING = re.compile(r"(?m)^#{1,6} (.*)$")
_LINE = re.compile(r"L(\d+)(?:-L(\d+))?")
_OUTSIDE = frozenset(("http", "https", "mailto"))


@dataclass(slots=True)
class Checked:
    """``broken`` are (page, target, why). ``citations`` are links to a line, counted among ``links`` too; ``outside``
    links to the network are counted and not followed."""

    pages: int = 0
    links: int = 0
    citations: int = 0
    outside: int = 0
    broken: list[tuple[str, str, str]] = field(default_factory=list)


def check_links(output: str, root: str) -> Checked:
    """Checks every page below ``output``. A link may lead to a file of the repository at ``root``, and nowhere else
    outside.

    Raises:
        OSError: a page can't be read.
    """
    checked = Checked()
    pages = _Pages(os.path.realpath(output), os.path.realpath(root))
    for path in _pages_below(pages.output):
        checked.pages += 1
        for target in pages.targets(path):
            checked.links += 1
            scheme = target.partition(":")[0] if ":" in target.partition("/")[0] else ""
            if scheme in _OUTSIDE:
                checked.outside += 1
                continue
            checked.citations += bool(_LINE.fullmatch(target.rpartition("#")[2]))
            why = pages.follow(path, target) if not scheme else f"links of {scheme}: aren't made by pagedex"
            if why:
                checked.broken.append((os.path.relpath(path, pages.output), target, why))
    for path in dict.fromkeys(pages.damaged):
        checked.broken.append((os.path.relpath(path, pages.output), "", "the page isn't UTF-8: build again"))
    return checked


def _pages_below(output: str) -> Iterator[str]:
    for folder, folders, names in os.walk(output):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith((".html", ".md")))


class _Pages:
    def __init__(self, output: str, root: str) -> None:
        self.output = output
        self.root = root
        self.damaged: list[str] = []
        self._anchors: dict[str, frozenset[str]] = {}
        self._lines: dict[str, int] = {}
        self._followed: dict[tuple[str, str], str] = {}

    def targets(self, path: str) -> list[str]:
        with open(path, encoding="utf-8", errors="strict") as opened:
            try:
                text = opened.read()
            except UnicodeDecodeError:
                self._anchors[path] = frozenset()
                self.damaged.append(path)
                return []
        if path.endswith(".html"):
            self._anchors[path] = frozenset(map(html.unescape, _ID.findall(text)))
            return [html.unescape(found) for found in _HREF.findall(text)]
        self._anchors[path] = frozenset(_markdown_anchors(text))
        return [found for found in _TARGET.findall(_without_code(text)) if found]

    def follow(self, path: str, target: str) -> str:
        """Why a link leads nowhere; empty where it leads somewhere."""
        # Pages of one folder share most of their links.
        key = (path if target.startswith("#") else os.path.dirname(path), target)
        if key not in self._followed:
            self._followed[key] = self._follow(path, target)
        return self._followed[key]

    def _follow(self, path: str, target: str) -> str:
        parts = urlsplit(target)
        at = path
        if parts.path:
            at = os.path.normpath(os.path.join(os.path.dirname(path), _file_name(parts.path)))
            if not (_below(at, self.output) or _below(at, self.root)):
                return "leads out of the output and the repository"
            if os.path.isdir(at):
                return "" if not parts.fragment else "a folder has no places to lead to"
            if not os.path.lexists(at):
                return "no such file"
        if not parts.fragment:
            return ""
        fragment = unquote(parts.fragment)
        if _below(at, self.output) and at.endswith((".html", ".md")):
            return "" if fragment in self._anchors_of(at) else f"no place {fragment!r} in the page"
        line = _LINE.fullmatch(fragment)
        if line is None:
            return f"{fragment!r} isn't a line of a file"
        last = int(line.group(2) or line.group(1))
        return (
            ""
            if 1 <= int(line.group(1)) <= last <= self._line_count(at)
            else f"the file has {self._line_count(at)} lines"
        )

    def _anchors_of(self, path: str) -> frozenset[str]:
        if path not in self._anchors:
            self.targets(path)
        return self._anchors[path]

    def _line_count(self, path: str) -> int:
        if path not in self._lines:
            with open(path, "rb") as opened:
                text = decode(opened.read())
            self._lines[path] = line_count(text.text) if text is not None else 0
        return self._lines[path]


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _file_name(path: str) -> str:
    return os.fsdecode(unquote_to_bytes(path)) if "%" in path else path


def _without_code(text: str) -> str:
    return _SPAN.sub("``", _FENCE.sub("", text))


def _markdown_anchors(text: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        anchor = anchor_of(_LINK.sub(r"\1", heading))
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        yield f"{anchor}-{count}" if count else anchor
    yield from map(html.unescape, _ID.findall(text))
