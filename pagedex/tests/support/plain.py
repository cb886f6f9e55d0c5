"""Pages as plain lines, so that a test says what a reader sees: links as [text], code in backticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    Runs,
    Section,
    Source,
    Strong,
    Table,
    Text,
    To,
)


def section_of(page: Page, title: str) -> Section:
    return next(section for section in page.sections if section.title == title)


def lines_of(page: Page, title: str) -> list[str]:
    """A section's blocks, a line each; of a source its first line, of headings the marks."""
    return list(_lines(section_of(page, title).blocks))


def _lines(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Paragraph):
            yield plain(block.runs)
        elif isinstance(block, Bullets):
            yield from (f"- {plain(item)}" for item in block.items)
        elif isinstance(block, Table):
            yield " | ".join(block.head)
            yield from (" | ".join(map(plain, row)) for row in block.rows)
        elif isinstance(block, Heading):
            yield f"{'#' * block.level} {plain(block.runs)}"
        elif isinstance(block, Text):
            yield from (f"> {line}" for line in block.text.split("\n"))
        elif isinstance(block, Fence):
            yield from (f"    {line}" for line in block.text.split("\n"))
        elif isinstance(block, Picture):
            yield f"picture: {block.alt}"
        elif isinstance(block, Source):
            yield f"source: {block.text.split(chr(10))[0]}"


def plain(runs: Runs) -> str:
    return "".join(_run(run) for run in runs)


def _run(run: str | Code | Strong | Link) -> str:
    if isinstance(run, Link):
        return f"[{run.text}]"
    if isinstance(run, Code):
        return f"`{run.text}`"
    return run.text if isinstance(run, Strong) else run


def every_block(page: Page) -> Iterator[Block]:
    waiting: list[Block] = [*page.lead, *(block for section in page.sections for block in section.blocks)]
    while waiting:
        block = waiting.pop(0)
        yield block
        if isinstance(block, Fold):
            waiting = [*block.blocks, *waiting]


def runs_of(block: Block) -> Iterator[Runs]:
    if isinstance(block, Paragraph | Heading):
        yield block.runs
    elif isinstance(block, Bullets):
        yield from block.items
    elif isinstance(block, Table):
        for row in block.rows:
            yield from row
    elif isinstance(block, Fold):
        yield block.summary


def targets_of(page: Page) -> Iterator[To]:
    """Everything that a page leads to."""
    yield from (crumb.to for crumb in page.crumbs)
    for block in every_block(page):
        for runs in runs_of(block):
            yield from (run.to for run in runs if isinstance(run, Link))
        if isinstance(block, Text):
            yield from block.names.values()
        elif isinstance(block, Source):
            yield from (link[3] for link in block.links)
        elif isinstance(block, Picture):
            yield from (box.to for box in block.boxes if box.to is not None)


def anchors_of(page: Page) -> list[str]:
    headings = [block.anchor for block in every_block(page) if isinstance(block, Heading) and block.anchor]
    return [*(section.anchor for section in page.sections), *headings]
