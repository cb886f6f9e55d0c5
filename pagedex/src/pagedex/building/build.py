"""A whole build, phase by phase."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pagedex import __version__
from pagedex.building.cache import Cache
from pagedex.building.folder import MANIFEST, Folder
from pagedex.building.options import Options
from pagedex.building.read import read_facts
from pagedex.building.summary import Summary, of_repository
from pagedex.building.workers import cores, run
from pagedex.building.writing import Writing
from pagedex.languages.tables import LANGUAGES
from pagedex.model.ties import Repository, Use
from pagedex.reading.tree import Tree, read_text, read_tree
from pagedex.resolving.resolve import resolve

# Told of each phase: its name, how many steps it has in all, how many more are done.
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
        kept = _kept(cache.said("build"), wanted, folder)
        if kept is not None:
            summary = kept
        else:
            folder.start(before)
            cache.say("build", None)  # of an output that is half old and half new nothing is true
            repository, anew = read_repository(tree, options, cache, progress)
            writing = Writing(repository, tree, options, folder)
            output = writing.write(cache, options.processes or cores(), progress)
            summary = of_repository(repository)
            summary.notes, summary.analysed = tree.notes, anew
            summary.removed = folder.finish(before, output.files)
            summary.written, summary.unchanged = output.written, output.unchanged
            states = {name: folder.state(name) for name in (*output.files, MANIFEST)}
            cache.say("build", {"of": wanted, "files": states, "summary": summary.plain()})
    finally:
        cache.close()
    summary.seconds = time.monotonic() - began
    return summary


def _kept(said: Any, wanted: str, folder: Folder) -> Summary | None:
    """The summary of a build of the same files whose output nobody has touched; None for anything else."""
    try:
        if said["of"] != wanted or any(folder.state(name) != was for name, was in said["files"].items()):
            return None
        summary = Summary.from_plain(said["summary"])
        summary.unchanged = len(said["files"]) - 1  # all but the list of files
    except (TypeError, KeyError, AttributeError, ValueError):
        return None  # what lies in the cache isn't what was put there
    summary.written = summary.removed = summary.analysed = 0
    return summary


def read_only(options: Options) -> Repository:
    """The repository that ``options`` names, with its ties, and nothing written but the cache.

    Raises:
        PagedexError: it can't be read.
    """
    tree = read_tree(options.root, options.selection())
    cache = Cache(options.cache, tree.root, os.path.realpath(options.output))
    try:
        return read_repository(tree, options, cache, lambda phase, count, done: None)[0]
    finally:
        cache.close()


def read_repository(tree: Tree, options: Options, cache: Cache, progress: Progress) -> tuple[Repository, int]:
    """A tree's files with their ties, and how many of them weren't in the cache."""
    processes = options.processes or cores()
    count = len(tree.files)
    read = read_facts(tree, cache, processes, lambda done: progress("reading", count, done))

    def lines(file: int) -> list[str]:
        text = read_text(tree.root, tree.files[file])
        return text.text.split("\n") if text is not None else []

    def shares(function: Callable[[int], list[list[Use]]], number: int) -> list[list[list[Use]]]:
        found = []
        for one in run(function, number, processes):
            found.append(one)
            progress("resolving", number, 1)
        return found

    name = options.name or Path(tree.root).name
    root_name = Path(tree.root).name
    return resolve(name, tree.revision, tree.files, read.facts, root_name, lines, shares), read.anew


def _digest(tree: Tree, options: Options) -> str:
    """What a whole output depends on."""
    digest = hashlib.blake2b(digest_size=20)
    said: list[Any] = [__version__, options.said(), tree.revision, tree.notes]
    said += ((one.name, one.version) for one in LANGUAGES)
    said += (dataclasses.astuple(file) for file in tree.files)
    for one in said:
        digest.update(repr(one).encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()
