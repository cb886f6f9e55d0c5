"""A whole build, phase by phase."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pagedex import __version__
from pagedex.building.cache import Cache, default_folder
from pagedex.building.folder import MANIFEST, Folder
from pagedex.building.read import read_facts
from pagedex.building.summary import Summary, of_repository
from pagedex.building.workers import cores, run
from pagedex.building.writing import Writer
from pagedex.model.ties import Repository, Use
from pagedex.output.site import FORMS
from pagedex.reading.text import Text
from pagedex.reading.tree import Selection, Tree, read_text, read_tree
from pagedex.resolving.resolve import resolve

# Files whose pages one process makes before it says how far it is.
_SHARE = 8
_TEXTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What is documented and where it goes. ``source_url`` is a template with ``{revision}``, ``{path}`` and ``{line}``;
    ``processes`` 0 means one a core."""

    root: str
    output: str
    name: str = ""
    forms: tuple[str, ...] = FORMS
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    largest: int = 8 << 20
    source_url: str = ""
    processes: int = 0
    cache: Path = field(default_factory=default_folder)

    def selection(self) -> Selection:
        return Selection(self.only, self.exclude, self.largest, os.path.realpath(self.output))


# Told of each phase: its name, how many steps it has, and how many more are done.
Progress = Callable[[str, int, int], None]


def build(options: Options, progress: Progress = lambda phase, count, done: None) -> Summary:
    """Documents a repository.

    Raises:
        PagedexError: the repository can't be read or the output can't be written; nothing about single files.
    """
    began = time.monotonic()
    tree = read_tree(options.root, options.selection())
    folder = Folder(options.output)
    before = folder.begin(tree.root)
    cache = Cache(options.cache, tree.root, os.path.realpath(options.output))
    try:
        wanted = _digest(tree, options)
        said = cache.said("build")
        if said is not None and said["of"] == wanted and _untouched(folder, said["files"], before):
            summary = Summary(
                **{**said["summary"], "written": 0, "unchanged": len(before), "removed": 0, "analysed": 0}
            )
        else:
            summary = _build(tree, options, cache, folder, before, progress)
            files = {name: folder.state(name) for name in (*_names(cache), MANIFEST)}
            cache.say("build", {"of": wanted, "files": files, "summary": summary.plain()})
    finally:
        cache.close()
    summary.seconds = time.monotonic() - began
    return summary
