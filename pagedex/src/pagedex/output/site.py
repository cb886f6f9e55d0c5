"""What all pages of an output have in common, and where each of their links leads."""

from __future__ import annotations

from dataclasses import dataclass

from pagedex.model.blocks import (
    Page,
    To,
    ToAddress,
    ToFile,
    ToFolder,
    ToKeywords,
    ToLetter,
    ToLine,
    ToPage,
)
from pagedex.output import names

FORMS = ("markdown", "html", "json")
ENDS = {"markdown": "md", "html": "html", "json": "json"}
_SOURCE = "original-source"


@dataclass(frozen=True, slots=True)
class Site:
    """``lines`` has the number of lines of each file of the repository, 0 for one whose text isn't shown; ``folders``
    every folder, ``""`` the root.

    ``revision`` stands on no page by itself: pages of files that didn't change stay as they are from commit to commit.
    Markdown cites the file itself: at ``source_url``, a template with ``{revision}``, ``{path}`` and ``{line}``, or at
    ``to_repository``, the way from the output's folder to the repository's. Without either it cites the page's own
    Original Source. ``links`` stand at the top of each page of the site: a text and an
    address from the output's folder, such as that of guides which lie beside it.
    """

    name: str
    revision: str
    lines: dict[str, int]
    folders: frozenset[str]
    source_url: str = ""
    to_repository: str = ""
    links: tuple[tuple[str, str], ...] = ()

    def name_of(self, to: To, form: str) -> str:
        """The name in the output of the page that ``to`` leads to; ``form`` is "md", "html" or "json"."""
        if isinstance(to, (ToPage, ToLine, ToFile)):
            return names.of_file(to.path, "docs", form)
        if isinstance(to, ToKeywords):
            return names.of_file(to.path, "kw", form)
        if isinstance(to, ToFolder):
            return names.of_folder_page(to.path, to.page, form)
        if isinstance(to, ToLetter):
            return names.of_letter(to.letter, form)
        raise ValueError(f"{to!r} has no page")

    def address(self, page: Page, to: To, form: str) -> str:
        """The address of ``to`` on ``page``, relative and encoded; empty where it leads nowhere that there is."""
        if isinstance(to, ToAddress):
            return _outside(to.address)
        if isinstance(to, (ToPage, ToLine, ToFile, ToKeywords)) and to.path not in self.lines:
            return ""
        if isinstance(to, ToFolder) and to.path not in self.folders:
            return ""
        here = self.name_of(page.here, form)
        if isinstance(to, (ToLine, ToFile)):
            return self._source(here, to, form)
        there = self.name_of(to, form)
        anchor = f"#{names.fragment(to.anchor)}" if isinstance(to, ToPage) and to.anchor else ""
        return anchor if there == here and anchor else names.relative(here, there) + anchor

    def _source(self, here: str, to: ToLine | ToFile, form: str) -> str:
        line = to.line if isinstance(to, ToLine) and 1 <= to.line <= self.lines[to.path] else 0
        if form == "md" and self.source_url:
            url = self.source_url if line else self.source_url.partition("#")[0]
            values = {"{revision}": self.revision, "{path}": names.encoded(to.path), "{line}": str(line)}
            for key, value in values.items():
                url = url.replace(key, value)
            return _outside(url)
        if form == "md" and self.to_repository:
            address = names.relative(here, f"{self.to_repository}/{to.path}")
            return f"{address}#L{line}" if line else address
        there = self.name_of(to, form)
        anchor = f"L{line}" if line and form == "html" else _SOURCE
        return f"#{anchor}" if there == here else f"{names.relative(here, there)}#{anchor}"


def _outside(address: str) -> str:
    """An address on the network, for pages to link; nothing that a browser would run."""
    return address if address.lower().startswith(("https://", "http://")) else ""
