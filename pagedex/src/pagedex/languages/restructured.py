"""reStructuredText, by a scanner of its own: lines are looked at one after the other, nothing is nested.

Found: section titles by docutils' rules (an underline, perhaps an overline; levels in the order in which their styles
first come), directives with their arguments, roles, links and images, the entries of a toctree, names in code blocks,
in literals and in the text, the words of the text. Not found: substitutions and tables as such; what a directive of
an extension means.
"""

from __future__ import annotations

import re

from pagedex.languages.contract import Language
from pagedex.languages.prose import add_code
from pagedex.languages.sections import LONGEST_DOC, Heading, bounded, sections
from pagedex.languages.tokens import Index, add_prose, code_names
from pagedex.model.facts import Facts, Reference

_RULE = re.compile(r"^([!-/:-@\[-`{-~])\1*\s*$")
_DIRECTIVE = re.compile(r"^(\s*)\.\.\s+(?:\|[^|]*\|\s+)?([\w:.+-]+)::(?:\s+(.*))?$")
_OPTION = re.compile(r"^\s*:([\w-]+):(?:\s+(.*))?$")
_TARGET = re.compile(r"^\s*\.\.\s+_([^:`]+|`[^`]+`):\s*(\S.*)?$")
# Bounds keep what is no role and no link from being sought to the end of a long line again and again.
_ROLE = re.compile(r":([\w:+.-]{1,60}):`([^`]{1,1000})`")
_LINK = re.compile(r"(?<![\w:`])`([^`<]{0,500})<([^`<>]{1,1000})>`__?")
_NAMED = re.compile(r"^(.*?)\s*<([^<>]+)>$", re.DOTALL)
_ADDRESS = re.compile(r"\bhttps?://[^\s<>`]+")

_CODE = frozenset(
    {"code", "code-block", "sourcecode", "testcode", "testsetup", "doctest", "ipython", "parsed-literal", "prompt"}
)
_FILES = frozenset(
    {"image", "figure", "include", "literalinclude", "download", "csv-table", "raw", "plantuml", "graphviz"}
)
_LINKING_ROLES = frozenset({"doc", "ref", "download", "any", "numref", "term"})


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.names, self.words = Index(), Index()
        self.facts = Facts("reStructuredText", "rst")
        self._styles: dict[str, int] = {}
        self._headings: list[Heading] = []
        self._highlight = ""
        self._row = 0

    def scan(self) -> Facts:
        while self._row < len(self.lines):
            if not self._heading():
                self._line()
        facts = self.facts
        facts.definitions = sections(self._headings, self.lines)
        facts.identifiers, facts.words = self.names.frozen(), self.words.frozen()
        return facts

    def _heading(self) -> bool:
        """Take a title at this row with what is above and below it, if there is one."""
        row, lines = self._row, self.lines
        if row > 0 and lines[row - 1].strip():
            return False
        over = _RULE.match(lines[row])
        first = row + 1 if over else row
        if first + 1 >= len(lines):
            return False
        title = lines[first].rstrip()
        under = _RULE.match(lines[first + 1])
        if not title.strip() or under is None or (over is None and title[0].isspace()):
            return False
        length = len(lines[first + 1].rstrip())
        if over is not None and lines[row].rstrip() != lines[first + 1].rstrip():
            return False
        # Four letters of a line that is too short still make a title, as docutils has it.
        if length < len(title.strip()) and length < 4:
            return False
        level = self._styles.setdefault(("over" if over else "") + under[1], len(self._styles) + 1)
        column = len(title) - len(title.lstrip())
        self._headings.append(Heading(_shown(title.strip()), level, first, first + 2, column))
        self._prose(first)
        self._row = first + 2
        return True

    def _line(self) -> None:
        row = self._row
        line = self.lines[row]
        directive = _DIRECTIVE.match(line)
        if directive is not None:
            self._directive(directive)
        elif (target := _TARGET.match(line)) is not None:
            if target[2]:
                self.facts.references.append(Reference(row + 1, target[1].strip("`"), target[2].strip()))
            self._row += 1
        elif line.strip() and not line.lstrip().startswith((".. ", ":")) and not line[0].isspace():
            self._paragraph()
        else:
            literal = line.rstrip().endswith("::")
            self._prose(row)
            self._row += 1
            if literal:
                self._block(_indent(line), self._highlight)

    def _paragraph(self) -> None:
        """Take the lines up to the next blank one; after ``::`` the block that follows is code."""
        first = self._row
        while self._row < len(self.lines) and self.lines[self._row].strip():
            self._prose(self._row)
            self._row += 1
        text = " ".join(self.lines[first : self._row]).rstrip()
        if _RULE.match(text):
            return
        plain = _shown(bounded(text, 2 * LONGEST_DOC))
        shown = bounded(plain.removesuffix(":") if plain.endswith("::") else plain, LONGEST_DOC)
        if shown and not self.facts.doc:
            self.facts.doc, self.facts.doc_line = shown, first + 1
        if shown and self._headings and not self._headings[-1].doc:
            self._headings[-1].doc, self._headings[-1].doc_line = shown, first + 1
        if text.endswith("::"):
            self._block(0, self._highlight)

    def _directive(self, match: re.Match[str]) -> None:
        row = self._row
        indent, name, argument = len(match[1]), match[2], (match[3] or "").strip()
        self._row += 1
        options = {}
        while self._row < len(self.lines) and _indent(self.lines[self._row]) > indent:
            option = _OPTION.match(self.lines[self._row])
            if option is None:
                break
            options[option[1]] = option[2] or ""
            add_prose(option[2] or "", self._row + 1, self.names, self.words)
            self._row += 1
        if name in _CODE:
            self._block(indent, argument.split(" ")[0])
        elif name == "highlight":
            self._highlight = argument
        elif name == "toctree":
            self._toctree(indent)
        elif name in _FILES:
            if argument:
                self.facts.references.append(Reference(row + 1, options.get("alt", ""), argument))
        elif (
            name.startswith("auto")
            or ":" in name
            or name in {"function", "class", "method", "module", "currentmodule", "data"}
        ):
            self.names.add_all(code_names(argument), row + 1)
        else:
            # A note or a warning: its argument is prose, and the lines that follow are as well.
            add_prose(argument, row + 1, self.names, self.words)

    def _toctree(self, indent: int) -> None:
        while self._row < len(self.lines):
            line = self.lines[self._row]
            if line.strip() and _indent(line) <= indent:
                break
            if line.strip():
                named = _NAMED.match(line.strip())
                text, target = (named[1], named[2]) if named else ("", line.strip())
                self.facts.references.append(Reference(self._row + 1, text, target))
            self._row += 1

    def _block(self, indent: int, language: str) -> None:
        """Take the lines that are indented deeper, as code."""
        first = self._row
        end = first
        while self._row < len(self.lines) and (not (line := self.lines[self._row]).strip() or _indent(line) > indent):
            self._row += 1
            if line.strip():
                end = self._row
        self._row = end
        margin = min((_indent(line) for line in self.lines[first:end] if line.strip()), default=0)
        code = "\n".join(line[margin:] for line in self.lines[first:end])
        add_code(language, code, first + 1, self.names, self.words)

    def _prose(self, row: int) -> None:
        line = self.lines[row]
        for role, text in _ROLE.findall(line):
            named = _NAMED.match(text)
            shown, target = (named[1], named[2]) if named else ("", text)
            if role.rpartition(":")[2] in _LINKING_ROLES:
                self.facts.references.append(Reference(row + 1, shown, target))
            else:
                self.names.add_all(code_names(target), row + 1)
        for text, target in _LINK.findall(line):
            self.facts.references.append(Reference(row + 1, text.strip(), target))
        line = _LINK.sub(r" \1 ", _ROLE.sub(r" \2 ", line)) if "`" in line else line
        add_prose(_ADDRESS.sub(" ", line), row + 1, self.names, self.words)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _shown(text: str) -> str:
    """A text without the marks of roles, links, literals and emphasis."""
    text = _ROLE.sub(lambda match: named[1] if (named := _NAMED.match(match[2])) else match[2].lstrip("~!"), text)
    text = _LINK.sub(lambda match: match[1].strip() or match[2], text)
    return re.sub(r"`{1,2}([^`]+)`{1,2}_{0,2}|\*{1,2}([^*]+)\*{1,2}", lambda match: match[1] or match[2], text)


def read_restructured(path: str, text: str) -> Facts:
    """The facts of a reStructuredText file: see above."""
    return _Scanner(text).scan()


RESTRUCTURED = Language("reStructuredText", "rst", read_restructured, 1, suffixes=(".rst", ".rest"))
