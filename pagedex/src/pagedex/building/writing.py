"""Every page of a repository into the output's folder, in several processes; what didn't change isn't made again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pagedex import __version__
from pagedex.building.cache import Cache
from pagedex.building.folder import Folder
from pagedex.building.options import Options
from pagedex.building.workers import run
from pagedex.index.a_to_z import letter_pages
from pagedex.index.folders import Folders, folder_pages
from pagedex.index.keywords import keyword_page
from pagedex.model.blocks import Page
from pagedex.model.files import FileKind
from pagedex.model.ties import Repository
from pagedex.output import html, markdown, names
from pagedex.output import json as json_output
from pagedex.output.files import assets
from pagedex.output.llms import llms_txt
from pagedex.output.site import ENDS, Site
from pagedex.pages.file_page import file_page
from pagedex.pages.tables import Tables
from pagedex.reading.tree import Tree, read_text
from pagedex.search.index import build_index, to_scripts
from pagedex.words.phrases import first_sentence

Progress = Callable[[str, int, int], None]

# Files whose pages one process makes before it says how far it is, and texts of other files that it keeps for examples.
_SHARE = 8
_TEXTS_KEPT = 64
_RENDER: dict[str, Callable[[Page, Site], str]] = {
    "markdown": markdown.render,
    "html": html.render,
    "json": json_output.render,
}


@dataclass(slots=True)
class Written:
    """Of one page: what it was made from, and its files with their states."""

    key: str
    files: dict[str, list[int]]
    written: int
    unchanged: int


@dataclass(slots=True)
class Output:
    """What a build wrote: ``files`` are all files of the output, written or not."""

    files: list[str] = field(default_factory=list)
    written: int = 0
    unchanged: int = 0


class Writing:
    """The pages of one repository, written into one folder."""

    def __init__(self, repository: Repository, tree: Tree, options: Options, folder: Folder) -> None:
        self._repository = repository
        self._tree = tree
        self._forms = tuple(form for form in _RENDER if form in options.forms)
        self._folder = folder
        self._options = options
        self._site = site_of(repository, tree.root, options)
        self._folders = Folders(repository)
        self._folder_names = sorted(self._site.folders)
        self._tables = Tables(repository, lru_cache(maxsize=_TEXTS_KEPT)(self._read))
        # Pages of a file depend on what is on them and on what all pages have in common.
        common = dataclasses.replace(self._site, lines={}, folders=frozenset(), revision="")
        self._common = repr((__version__, self._forms, common, self._site.revision if options.source_url else ""))
        self._before: dict[str, Any] = {}

    def write(self, cache: Cache, processes: int, progress: Progress) -> Output:
        """Writes all pages, the search's index and the files around them."""
        before = cache.said("pages")
        self._before = before if isinstance(before, dict) else {}
        shares = [*self._shares()]
        output, pages = Output(), {}
        for found in run(lambda number: [*self._share(shares[number])], len(shares), processes):
            for name, one in found:
                pages[name] = [one.key, one.files]
                output.files += one.files
                output.written += one.written
                output.unchanged += one.unchanged
            progress("writing", len(shares), 1)
        for name, content in self._others():
            changed = self._folder.write(name, content)
            output.files.append(name)
            output.written += changed
            output.unchanged += not changed
        cache.say("pages", pages)
        return output

    def _shares(self) -> Iterator[tuple[str, range]]:
        files, folders = len(self._repository.files), len(self._site.folders)
        yield from (("files", range(start, min(start + _SHARE, files))) for start in range(0, files, _SHARE))
        yield from (("folders", range(start, min(start + _SHARE, folders))) for start in range(0, folders, _SHARE))
        yield "letters", range(1)

    def _share(self, share: tuple[str, range]) -> Iterator[tuple[str, Written]]:
        what, numbers = share
        pages: Iterable[Page]
        for number in numbers:
            if what == "files":
                page = file_page(self._tables, number, self._tables.text_of(number))
                pages = (page, keyword_page(self._repository, number, page))
            elif what == "folders":
                pages = folder_pages(self._folders, self._folder_names[number])
            else:
                pages = letter_pages(self._repository)
            for page in pages:
                yield self._site.name_of(page.here, "html"), self._page(page)

    def _page(self, page: Page) -> Written:
        said = f"{self._common}\n{page!r}".encode("utf-8", "backslashreplace")
        key = hashlib.blake2b(said, digest_size=16).hexdigest()
        name = self._site.name_of(page.here, "html")
        before = self._before.get(name)
        if before is not None and before[0] == key and self._is_untouched(before[1]):
            return Written(key, before[1], 0, len(before[1]))
        files, written = {}, 0
        for form in self._forms:
            file = self._site.name_of(page.here, ENDS[form])
            text = _RENDER[form](page, self._site)
            written += self._folder.write(file, text.encode("utf-8", "backslashreplace"))
            files[file] = self._folder.state(file)
        return Written(key, files, written, len(files) - written)

    def _is_untouched(self, files: dict[str, list[int]]) -> bool:
        return all(self._folder.state(name) == state for name, state in files.items())

    def _others(self) -> Iterator[tuple[str, bytes]]:
        if "html" in self._forms:
            yield from assets().items()
        index = build_index(self._repository, self._page_of, self._rendered)
        for name, content in to_scripts(index).items():
            yield f"_pagedex/{name}", content
        if "markdown" in self._forms:
            yield "llms.txt", llms_txt(self._site, self._described()).encode("utf-8", "backslashreplace")

    def _page_of(self, path: str) -> str:
        return names.encoded(names.of_file(path, "docs", "html"))

    def _rendered(self, path: str) -> str:
        """Where another tool's page of a document lies, if that was said of its folder."""
        for folder, address in self._options.rendered:
            below = path[len(folder) :].lstrip("/") if path.startswith(folder.rstrip("/") + "/") else ""
            stem, dot, suffix = below.rpartition(".")
            if dot and suffix in ("md", "rst"):
                return f"{address.rstrip('/')}/{names.encoded(stem)}.html"
        return ""

    def _described(self) -> list[tuple[str, str]]:
        return [
            (file.path, first_sentence(facts.doc) if facts is not None else "")
            for file, facts in zip(self._repository.files, self._repository.facts, strict=True)
        ]

    def _read(self, file: int) -> str | None:
        text = read_text(self._tree.root, self._tree.files[file])
        return text.text if text is not None else None


def site_of(repository: Repository, root: str, options: Options) -> Site:
    """What the pages of a repository have in common."""
    folders = {""}
    for file in repository.files:
        folder = file.folder
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    lines = {file.path: file.lines if file.kind is FileKind.TEXT else 0 for file in repository.files}
    way = os.path.relpath(root, os.path.realpath(options.output)).replace(os.sep, "/")
    return Site(
        repository.name,
        repository.revision,
        lines,
        frozenset(folders),
        options.source_url,
        way,
        options.links,
    )
