"""Comments: their text without markers, which of them document what, and which are only a licence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BLOCK_OPEN = re.compile(r"^/\*+[!<]*")
_BLOCK_CLOSE = re.compile(r"\**/$")
_BLOCK_LINE = re.compile(r"^[ \t]*\*(?!\*)[ \t]?")
_LINE_OPEN = re.compile(r"^[ \t]*(?:///?[!<]*|//!|\#+!?) ?")
_RULE = re.compile(r"^[\W_]*$")
# Marks of Emacs and of doxygen's files say nothing about what is documented.
_MODE_LINE = re.compile(r"-\*-.*-\*-")
_LICENCE = re.compile(r"copyright|\blicen[cs]|spdx-|all rights reserved|\(c\) \d{4}", re.IGNORECASE)
_TERMS = re.compile(
    r"warrant|redistribut|permission is hereby|liab(?:le|ility)|above copyright|licen[cs]|copyright|notice|as is\b|"
    r"contributors may|rights reserved",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Comment:
    """One comment: its rows, from 0, its raw text, and whether nothing stands before it on its row."""

    row: int
    end_row: int
    raw: str
    alone: bool


@dataclass(slots=True)
class Comments:
    """The comments of a file. ``skipped`` are rows that may stand between a comment and what it documents, such as
    Rust's attributes: the last row of each leads to its first."""

    all: list[Comment] = field(default_factory=list)
    skipped: dict[int, int] = field(default_factory=dict)
    _ending: dict[int, Comment] = field(default_factory=dict)
    _beside: dict[int, Comment] = field(default_factory=dict)

    def add(self, comment: Comment) -> None:
        self.all.append(comment)
        if comment.alone:
            self._ending[comment.end_row] = comment
        else:
            self._beside[comment.row] = comment

    def above(self, row: int) -> tuple[str, int]:
        """The text of the comment that stands right above a row, and its line; ``("", 0)`` where there is none."""
        group: list[Comment] = []
        row -= 1
        while True:
            comment = self._ending.get(row)
            if comment is not None:
                group.append(comment)
                row = comment.row - 1
                # A block comment is whole; what stands above it is another one.
                if comment.raw.startswith("/*"):
                    break
            elif row in self.skipped and not group:
                row = self.skipped[row] - 1
            else:
                break
        return _joined(group[::-1])

    def beside(self, end_row: int) -> tuple[str, int]:
        """The text of a doxygen comment that stands behind what it documents: ``int x;  ///< so``."""
        comment = self._beside.get(end_row)
        if comment is None or not re.match(r"(?://[/!]|/\*[*!])<", comment.raw):
            return "", 0
        return _joined([comment])

    def leading(self, code_row: int) -> list[list[Comment]]:
        """The comments before ``code_row``, in groups without a blank line inside."""
        groups: list[list[Comment]] = []
        for comment in self.all:
            if comment.row >= code_row:
                break
            last = groups[-1][-1] if groups else None
            if last is None or comment.row != last.end_row + 1 or comment.raw[:2] != last.raw[:2]:
                groups.append([])
            groups[-1].append(comment)
        return groups


def of_file(groups: list[list[Comment]], taken: set[int]) -> tuple[str, int]:
    """The text of the first group that says something about the file, and its line: no licence, and none of the lines
    in ``taken``, where the comments of definitions begin. ``("", 0)`` where there is none."""
    for group in groups:
        text, line = _joined(group)
        text = without_licence(text)
        if text and line not in taken:
            return text, line
    return "", 0


def licences(groups: list[list[Comment]]) -> set[int]:
    """The rows of the comments that are a licence and nothing else."""
    only = [group for group in groups if (text := _joined(group)[0]) and not without_licence(text)]
    return {comment.row for group in only for comment in group}


def _joined(group: list[Comment]) -> tuple[str, int]:
    text = "\n".join(stripped(comment.raw) for comment in group).strip("\n")
    return (text, group[0].row + 1) if text else ("", 0)


def stripped(raw: str) -> str:
    """The text of a comment without its markers, rules of punctuation, and the indentation that all lines share."""
    if raw.startswith("/*"):
        text = _BLOCK_CLOSE.sub("", _BLOCK_OPEN.sub("", raw))
        first, *rest = text.split("\n")
        starred = [line for line in rest if line.strip()]
        if starred and all(line.lstrip().startswith("*") for line in starred):
            rest = [_BLOCK_LINE.sub("", line) for line in rest]
        lines = [first.strip(), *_dedented(rest)]
    else:
        lines = _dedented([_LINE_OPEN.sub("", line) for line in raw.split("\n")])
    kept = ["" if _RULE.match(line) or _MODE_LINE.search(line) else line.rstrip() for line in lines]
    return "\n".join(kept).strip("\n")


def _dedented(lines: list[str]) -> list[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def without_licence(text: str) -> str:
    """A file's leading comment without what only says who may copy it; ``""`` where nothing else is there."""
    if not _LICENCE.search(text):
        return text
    kept = []
    terms = False
    for paragraph in re.split(r"\n\s*\n", text):
        found = _LICENCE.search(paragraph)
        if found:
            # "A fast hash / Copyright (C) ..." still begins with what the file is.
            head = paragraph[: found.start()].rpartition("\n")[0]
            terms = True
            if head.strip():
                kept.append(head)
        elif not (terms and _TERMS.search(paragraph)):
            kept.append(paragraph)
    return "\n\n".join(kept).strip("\n")
