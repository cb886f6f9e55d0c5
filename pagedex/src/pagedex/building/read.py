"""The facts of every file: kept ones from the cache, the others read in several processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from pagedex.building.cache import Cache, key_of, packed
from pagedex.building.workers import run
from pagedex.languages.contract import Language
from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts, Problem
from pagedex.model.files import FileKind
from pagedex.reading.tree import Tree, read_text

# A share of the files that one process reads before it says how far it is.
_SHARE = 8
_INTERPRETER = "{}.{}".format(*sys.version_info)


@dataclass(slots=True)
class Read:
    """``facts`` run parallel to the tree's files, None for what isn't text; ``anew`` were not in the cache."""

    facts: list[Facts | None]
    keys: list[str]
    anew: int


def read_facts(tree: Tree, cache: Cache, processes: int, advance: Callable[[int], None]) -> Read:
    """Reads all files of a tree. ``advance`` is told how many more files are done."""
    languages = [language_of(file.path, file.first_line) if file.kind is FileKind.TEXT else None for file in tree.files]
    keys = [
        key_of(file.digest, file.path, language.name, language.version, _INTERPRETER) if language is not None else ""
        for file, language in zip(tree.files, languages, strict=True)
    ]
    kept = cache.facts(key for key in keys if key)
    found: list[Facts | None] = [kept.get(key) for key in keys]
    missing = [index for index, language in enumerate(languages) if language is not None and found[index] is None]
    advance(len(tree.files) - len(missing))
    # Large files first, so that no process is left with one at the end; each result knows its file.
    missing.sort(key=lambda index: (-tree.files[index].size, index))
    shares = [missing[start :: _count(missing)] for start in range(_count(missing))]

    def share(number: int) -> list[tuple[int, Facts, bytes]]:
        results = []
        for index in shares[number]:
            language = languages[index]
            assert language is not None
            facts = _read(tree, index, language)
            results.append((index, facts, packed(facts)))
        return results

    new: dict[str, bytes] = {}
    for results in run(share, len(shares), processes):
        for index, facts, kept_form in results:
            found[index] = facts
            new[keys[index]] = kept_form
        advance(len(results))
    cache.keep(new, keys)
    return Read(found, keys, len(missing))


def _count(missing: list[int]) -> int:
    return (len(missing) + _SHARE - 1) // _SHARE


def _read(tree: Tree, index: int, language: Language) -> Facts:
    file = tree.files[index]
    text = read_text(tree.root, file)
    if text is None:
        return Facts(language.name, "text", problems=[Problem(0, "changed or went while it was read")])
    facts = language.read(file.path, text.text)
    facts.problems.sort(key=lambda one: one.line)
    return facts
