"""Pages as GitHub-flavoured Markdown, for code hosts, terminals and programs.

Nothing of what is documented is read as Markdown: text is escaped, docstrings and sources stand in fences that are
longer than any run of backticks in them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Fence,
    Fold,
    Heading,
    Link,
    Page,
    Paragraph,
    Picture,
    Run,
    Section,
    Source,
    Strong,
    Table,
    Text,
)
from pagedex.output.site import Site

FORM = "md"
_SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|(?<!\w)_|_(?!\w)|&(?=[#\w])|!(?=\[)")
_TICKS = re.compile(r"`+")
# What a name of blanks alone is shown as: there has to be something to see and to click.
_BLANK = "\N{OPEN BOX}"
_SPACE = re.compile(r"\s+")


def render(page: Page, site: Site) -> str:
    """A page as Markdown."""
    return "\n".join(_Markdown(page, site).page()) + "\n"


def escaped(text: str) -> str:
    """Text that reads as itself inside a paragraph."""
    return _SPECIAL.sub(r"\\\g<0>", _SPACE.sub(" ", text))


def code(text: str, cell: bool = False) -> str:
    """A span of code; ``cell`` in a table, whose bars are told from the text's."""
    text = _SPACE.sub(" ", text)
    if not text.strip():
        text = _BLANK
    ticks = "`" * (max((len(run) for run in _TICKS.findall(text)), default=0) + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    text = text.replace("|", "\\|") if cell else text
    return f"{ticks}{pad}{text}{pad}{ticks}"


class _Markdown:
    def __init__(self, page: Page, site: Site) -> None:
        self._page = page
        self._site = site

    def page(self) -> Iterator[str]:
        page = self._page
        yield f"# {_title(page.title)}"
        yield ""
        if page.crumbs:
            yield " / ".join(self._run(one, False) for one in page.crumbs)
            yield ""
        yield from self._blocks(page.lead)
        if len(page.sections) > 1:
            for section in page.sections:
                yield f"- [{escaped(section.title)}](#{section.anchor})"
            yield ""
        for section in page.sections:
            yield from self._section(section)

    def _section(self, section: Section) -> Iterator[str]:
        yield f"## {escaped(section.title)}"
        yield ""
        yield from self._blocks(section.blocks)

    def _blocks(self, blocks: Sequence[Block]) -> Iterator[str]:
        for block in blocks:
            yield from self._block(block)
            yield ""

    def _block(self, block: Block) -> Iterator[str]:
        if isinstance(block, Paragraph):
            yield self._paragraph(block.runs)
        elif isinstance(block, Bullets):
            yield from (f"- {self._paragraph(item)}" for item in block.items)
        elif isinstance(block, Table):
            yield f"| {' | '.join(escaped(cell) for cell in block.head)} |"
            yield "|" + " --- |" * len(block.head)
            yield from (f"| {' | '.join(self._runs(cell, True) or ' ' for cell in row)} |" for row in block.rows)
        elif isinstance(block, Heading):
            if block.anchor:
                yield f'<a id="{html.escape(block.anchor)}"></a>'
                yield ""
            yield f"{'#' * min(block.level, 6)} {self._runs(block.runs, False)}"
        elif isinstance(block, Text):
            yield from _fence(block.text, "text")
        elif isinstance(block, (Fence, Source)):
            if isinstance(block, Source) and block.note:
                yield self._paragraph((block.note,))
                yield ""
            yield from _fence(block.text, block.lexer)
        elif isinstance(block, Picture):
            yield self._paragraph((block.alt,))
        elif isinstance(block, Fold):
            yield f"**{self._runs(block.summary, False)}**"
            yield ""
            yield from self._blocks(block.blocks)

    def _paragraph(self, runs: Sequence[Run]) -> str:
        text = self._runs(runs, False)
        # What begins a paragraph could begin a list, a heading or a quotation.
        if text[:1] in "#>=+-" and text[:1]:
            return "\\" + text
        number = re.match(r"\d+(?=[.)])", text)
        return f"{number.group()}\\{text[number.end() :]}" if number else text

    def _runs(self, runs: Sequence[Run], cell: bool) -> str:
        return "".join(self._run(run, cell) for run in runs)

    def _run(self, run: Run, cell: bool) -> str:
        if isinstance(run, Code):
            return code(run.text, cell)
        if isinstance(run, Strong):
            return f"**{escaped(run.text)}**" if run.text.strip() else ""
        if isinstance(run, Link):
            text = code(run.text, cell) if run.code else escaped(run.text if run.text.strip() else _BLANK)
            address = self._site.address(self._page, run.to, FORM)
            return f"[{text}]({address})" if address and text else text
        return escaped(run)


def _title(title: str) -> str:
    before, tick, rest = title.partition("`")
    if tick and rest.endswith("`"):
        return escaped(before) + code(rest[:-1])
    return escaped(title)


def _fence(text: str, lexer: str) -> Iterator[str]:
    fence = "`" * max(3, max((len(run) for run in _TICKS.findall(text)), default=0) + 1)
    yield fence + lexer
    yield text[:-1] if text.endswith("\n") else text
    yield fence
