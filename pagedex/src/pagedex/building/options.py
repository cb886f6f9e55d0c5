"""What a build is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pagedex.building.cache import default_folder
from pagedex.output.site import FORMS
from pagedex.reading.tree import Selection


@dataclass(frozen=True, slots=True)
class Options:
    """What is documented and where it goes.

    ``source_url`` is a template with ``{revision}``, ``{path}`` and ``{line}``. ``links``, a text and an address each,
    stand at the top of the site's pages. ``rendered`` are folders whose documents another tool makes pages of, each
    with the address of these: search leads there. Addresses are as seen from the output. ``processes`` 0 means one a
    core.
    """

    root: str
    output: str
    name: str = ""
    forms: tuple[str, ...] = FORMS
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    largest: int = 8 << 20
    source_url: str = ""
    links: tuple[tuple[str, str], ...] = ()
    rendered: tuple[tuple[str, str], ...] = ()
    processes: int = 0
    cache: Path = field(default_factory=default_folder)

    def selection(self) -> Selection:
        return Selection(self.only, self.exclude, self.largest, os.path.realpath(self.output))

    def said(self) -> tuple[object, ...]:
        """What of it an output depends on, beside the files."""
        return (self.name, self.forms, self.source_url, self.links, self.rendered)
