"""The page of a file."""

from __future__ import annotations

from collections.abc import Callable

from pagedex.model.blocks import Block, Link, Page, Section, ToFolder, ToPage
from pagedex.model.files import display
from pagedex.pages.about import metadata, purpose, source
from pagedex.pages.architecture import architecture
from pagedex.pages.authored import SECTIONS
from pagedex.pages.dependencies import dependencies
from pagedex.pages.details import details
from pagedex.pages.findings import performance, security
from pagedex.pages.overview import overview
from pagedex.pages.patterns import patterns
from pagedex.pages.references import cross_references
from pagedex.pages.related import related
from pagedex.pages.subject import Subject
from pagedex.pages.tables import Tables
from pagedex.pages.testing import testing

_MAKERS: tuple[Callable[[Subject], list[Block]], ...] = (
    metadata,
    purpose,
    source,
    overview,
    details,
    architecture,
    dependencies,
    patterns,
    performance,
    security,
    testing,
    related,
    cross_references,
)


def file_page(tables: Tables, file: int, text: str | None) -> Page:
    """The page of a file of the repository, with its thirteen sections; ``text`` is None where there is none to show.

    What the file's own documentation says under a section's title comes first in that section.
    """
    subject = Subject(tables, file, text)
    sections = [
        Section(title, [*subject.said(title), *make(subject)]) for title, make in zip(SECTIONS, _MAKERS, strict=True)
    ]
    crumbs = folder_crumbs(tables.repository.name, subject.file.folder)
    return Page(f"Documentation: `{subject.file.display}`", ToPage(subject.path), subject.path, sections, crumbs)


def folder_crumbs(name: str, folder: str) -> list[Link]:
    """Links from the repository's root down to a folder."""
    parts = folder.split("/") if folder else []
    below = [Link(display(part), ToFolder("/".join(parts[: depth + 1]))) for depth, part in enumerate(parts)]
    return [Link(name, ToFolder("")), *below]
