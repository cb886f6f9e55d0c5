"""Pages as JSON: the same sections and blocks as plain values. ``docs/json.md`` says what stands where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Fence,
    Heading,
    Link,
    Page,
    Paragraph,
    Picture,
    Run,
    Source,
    Strong,
    Table,
    Text,
    To,
    ToAddress,
    ToFile,
    ToFolder,
    ToKeywords,
    ToLetter,
    ToLine,
    ToPage,
)
from pagedex.output.site import Site

SCHEMA = "pagedex/page/1"
FORM = "json"
_KINDS: dict[type, str] = {
    ToLine: "line",
    ToPage: "page",
    ToKeywords: "keywords",
    ToFolder: "folder",
    ToFile: "file",
    ToLetter: "letter",
    ToAddress: "address",
}


def render(page: Page, site: Site) -> str:
    """A page as one object of JSON, in ASCII."""
    said = {
        "schema": SCHEMA,
        "title": page.title,
        "about": page.about,
        "repository": site.name,
        "here": _to(page.here),
        "crumbs": [_run(one) for one in page.crumbs],
        "lead": _blocks(page.lead),
        "sections": [
            {"title": section.title, "anchor": section.anchor, "blocks": _blocks(section.blocks)}
            for section in page.sections
        ],
    }
    return json.dumps(said, separators=(",", ":")) + "\n"


def _blocks(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [_block(block) for block in blocks]


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Paragraph):
        return {"is": "paragraph", "runs": _runs(block.runs)}
    if isinstance(block, Bullets):
        return {"is": "bullets", "items": [_runs(item) for item in block.items]}
    if isinstance(block, Table):
        return {"is": "table", "head": list(block.head), "rows": [[_runs(cell) for cell in row] for row in block.rows]}
    if isinstance(block, Heading):
        return {"is": "heading", "level": block.level, "anchor": block.anchor, "runs": _runs(block.runs)}
    if isinstance(block, Text):
        return {"is": "text", "text": block.text, "names": {name: _to(to) for name, to in block.names.items()}}
    if isinstance(block, Fence):
        return {
            "is": "fence",
            "text": block.text,
            "lexer": block.lexer,
            "path": block.path,
            "first_line": block.first_line,
        }
    if isinstance(block, Source):
        links = [
            {"line": line, "column": column, "length": length, "to": _to(to), "title": title}
            for line, column, length, to, title in block.links
        ]
        return {
            "is": "source",
            "path": block.path,
            "lexer": block.lexer,
            "note": block.note,
            "text": block.text,
            "links": links,
        }
    if isinstance(block, Picture):
        boxes = [
            {
                "text": box.text,
                "column": box.column,
                "to": _to(box.to) if box.to is not None else None,
                "strong": box.strong,
            }
            for box in block.boxes
        ]
        return {"is": "picture", "alt": block.alt, "boxes": boxes, "arrows": [list(arrow) for arrow in block.arrows]}
    return {"is": "fold", "summary": _runs(block.summary), "blocks": _blocks(block.blocks)}


def _runs(runs: Sequence[Run]) -> list[Any]:
    return [_run(run) for run in runs]


def _run(run: Run) -> Any:
    if isinstance(run, Code):
        return {"code": run.text}
    if isinstance(run, Strong):
        return {"strong": run.text}
    if isinstance(run, Link):
        return {"link": run.text, "to": _to(run.to), "code": run.code}
    return run


def _to(to: To) -> dict[str, Any]:
    return {"kind": _KINDS[type(to)], **to._asdict()}
