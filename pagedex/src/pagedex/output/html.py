"""Pages as a static site: opens by double click, without a server, a network or anything but its own files.

The frame of a page is a template; what stands in it is made by functions that escape all text. There is no script,
style or handler inside a page, and its policy forbids the browser to run any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape

import jinja2

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
)
from pagedex.output import highlight, names
from pagedex.output.drawing import draw
from pagedex.output.site import Site

FORM = "html"


def render(page: Page, site: Site) -> str:
    """A page as a whole document."""
    writer = _Html(page, site)
    here = site.name_of(page.here, FORM)
    root = names.relative(here, "index.html")[: -len("index.html")]
    return _template().render(
        title=_plain_title(page.title),
        heading=_title(page.title),
        name=site.name,
        root=root,
        crumbs=[(one.text, site.address(page, one.to, FORM)) for one in page.crumbs],
        sections=[(section.title, section.anchor) for section in page.sections],
        lead=writer.blocks(page.lead),
        bodies=[(section.title, section.anchor, writer.blocks(section.blocks)) for section in page.sections],
        links=[(text, root + address if "://" not in address else address) for text, address in site.links],
        markdown=names.relative(here, site.name_of(page.here, "md")),
    )


class _Html:
    def __init__(self, page: Page, site: Site) -> None:
        self._page = page
        self._site = site

    def blocks(self, blocks: Sequence[Block]) -> str:
        return "\n".join(self._block(block) for block in blocks)

    def _address(self, to: To) -> str:
        return self._site.address(self._page, to, FORM)

    def _block(self, block: Block) -> str:
        if isinstance(block, Paragraph):
            return f"<p>{self._runs(block.runs)}</p>"
        if isinstance(block, Bullets):
            return "<ul>" + "".join(f"<li>{self._runs(item)}</li>" for item in block.items) + "</ul>"
        if isinstance(block, Table):
            head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in block.head)
            rows = "".join(
                "<tr>" + "".join(f"<td>{self._runs(cell)}</td>" for cell in row) + "</tr>" for row in block.rows
            )
            return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        if isinstance(block, Heading):
            level = min(block.level, 6)
            anchor = f' id="{escape(block.anchor)}"' if block.anchor else ""
            return f"<h{level}{anchor}>{self._runs(block.runs)}</h{level}>"
        if isinstance(block, Text):
            return f'<div class="text">{self._text(block)}</div>'
        if isinstance(block, Fence):
            shown = highlight.plain(block.text, block.lexer)
            return f'<div class="wide"><pre class="code"><code>{shown}</code></pre></div>'
        if isinstance(block, Source):
            return self._source(block)
        if isinstance(block, Picture):
            return f'<figure class="wide">{draw(block, self._address)}</figure>'
        return f"<details><summary>{self._runs(block.summary)}</summary>{self.blocks(block.blocks)}</details>"

    def _runs(self, runs: Sequence[Run]) -> str:
        return "".join(self._run(run) for run in runs)

    def _run(self, run: Run) -> str:
        if isinstance(run, Code):
            return f"<code>{escape(run.text)}</code>"
        if isinstance(run, Strong):
            return f"<strong>{escape(run.text)}</strong>"
        if isinstance(run, Link):
            text = f"<code>{escape(run.text)}</code>" if run.code else escape(run.text)
            address = self._address(run.to)
            return f'<a href="{escape(address)}">{text}</a>' if address else text
        return escape(run)

    def _text(self, block: Text) -> str:
        if not block.names:
            return escape(block.text)
        return "".join(self._word(word, block) for word in _words(block.text))

    def _word(self, word: str, block: Text) -> str:
        to = block.names.get(word)
        address = self._address(to) if to is not None else ""
        return f'<a href="{escape(address)}">{escape(word)}</a>' if address else escape(word)

    def _source(self, block: Source) -> str:
        links: defaultdict[int, list[tuple[int, int, str, str]]] = defaultdict(list)
        for line, column, length, to, title in block.links:
            if address := self._address(to):
                links[line].append((column, length, address, title))
        shown = "\n".join(
            f'<span class="l" id="L{number}"><a class="n" href="#L{number}">{number}</a>{line}</span>'
            for number, line in enumerate(highlight.lines(block.text, block.lexer, lambda line: links.get(line, ())), 1)
        )
        note = f"<p>{escape(block.note)}</p>" if block.note else ""
        return f'{note}<div class="wide source" tabindex="0"><pre class="code"><code>{shown}</code></pre></div>'


def _words(text: str) -> Iterator[str]:
    """A text in pieces: dotted names, and what stands between them."""
    piece = ""
    name = False
    for letter in text:
        is_name = letter.isalnum() or letter in "_."
        if is_name != name and piece:
            yield piece
            piece = ""
        piece, name = piece + letter, is_name
    if piece:
        yield piece


def _plain_title(title: str) -> str:
    before, tick, rest = title.partition("`")
    return before + rest[:-1] if tick and rest.endswith("`") else title


def _title(title: str) -> tuple[str, str]:
    """What of a title is text and what is a name."""
    before, tick, rest = title.partition("`")
    return (before, rest[:-1]) if tick and rest.endswith("`") else (title, "")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pagedex.output", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html")
