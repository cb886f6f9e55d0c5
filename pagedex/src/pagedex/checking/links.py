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

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pagedex.model.blocks import anchor_of
from pagedex.reading.text import decode, line_count

_HREF = re.compile(r"""<(?:a|link|script|img|image)\b[^>]*?\s(?:href|src)="([^"]*)\"""")
_ID = re.compile(r"""\sid="([^"]+)\"""")
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
    return checked


def _pages_below(output: str) -> Iterator[str]:
    for folder, folders, names in os.walk(output):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith((".html", ".md")))


class _Pages:
    def __init__(self, output: str, root: str) -> None:
        self.output = output
        self.root = root
        self._anchors: dict[str, frozenset[str]] = {}
        self._lines: dict[str, int] = {}
        self._markdown = MarkdownIt("commonmark").enable("table")

    def targets(self, path: str) -> list[str]:
        with open(path, encoding="utf-8", errors="strict") as opened:
            text = opened.read()
        if path.endswith(".html"):
            self._anchors[path] = frozenset(map(html.unescape, _ID.findall(text)))
            return [html.unescape(found) for found in _HREF.findall(text)]
        tokens = self._markdown.parse(text)
        self._anchors[path] = frozenset(_markdown_anchors(tokens))
        return list(_markdown_targets(tokens))

    def follow(self, path: str, target: str) -> str:
        """Why a link leads nowhere; empty where it leads somewhere."""
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


def _markdown_targets(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                yield str(child.attrGet("href") or "")
            elif child.type == "image":
                yield str(child.attrGet("src") or "")


def _markdown_anchors(tokens: list[Token]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            inline = tokens[index + 1]
            text = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
            anchor = anchor_of(text)
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            yield f"{anchor}-{count}" if count else anchor
        content = token.content if token.type == "html_block" else ""
        for child in token.children or ():
            content += child.content if child.type == "html_inline" else ""
        yield from (html.unescape(found) for found in _ID.findall(content))
