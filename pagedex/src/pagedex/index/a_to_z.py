"""The A to Z of a repository: every defined name with its places, every word with its files, by letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pagedex.index.letters import DIGITS, OTHER, letter_of, prefix_of, sort_key
from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Link,
    Page,
    Runs,
    Section,
    ToFolder,
    ToKeywords,
    ToLetter,
    ToLine,
)
from pagedex.model.ties import Place, Repository
from pagedex.words.english import stem
from pagedex.words.phrases import bullets, counted, joined, number, paragraph

_MOST_ENTRIES = 2000
_MOST_PLACES = 12
_LONGEST_PREFIX = 6


@dataclass(slots=True)
class _Name:
    name: str
    places: list[Place] = field(default_factory=list)  # the first of them
    count: int = 0


@dataclass(slots=True)
class _Word:
    """``name`` is the form that comes in most files."""

    name: str
    files: list[int] = field(default_factory=list)  # the first of them
    count: int = 0
    last: int = -1  # the file that was counted last


_Entry = _Name | _Word


def letter_pages(repository: Repository) -> Iterator[Page]:
    """The list of letters, ``ToLetter("")``, then the page of each.

    What is too much for one page is divided by the first two letters, then by three, and so on.
    """
    entries: dict[str, list[_Entry]] = {}
    every: list[_Entry] = [*_names(repository), *_words(repository)]
    for one in sorted(every, key=lambda one: sort_key(one.name)):
        entries.setdefault(letter_of(one.name), []).append(one)
    letters = [*sorted(letter for letter in entries if letter not in (DIGITS, OTHER)), DIGITS, OTHER]
    letters = [letter for letter in letters if letter in entries]
    items: list[Runs] = [(_link(letter), f": {_counts(entries[letter])}") for letter in letters]
    listed: list[Block] = [Bullets(items)] if items else [paragraph("Looked for names and words; none found.")]
    yield Page("A to Z", ToLetter(""), "", [Section("Letters", listed)], [_root(repository)])
    for letter in letters:
        yield from _pages(repository, letter, entries[letter])


def _root(repository: Repository) -> Link:
    return Link(repository.name, ToFolder(""))


def _link(letter: str) -> Link:
    return Link(letter.upper() if letter != OTHER else OTHER, ToLetter(letter))


def _counts(entries: Sequence[_Entry]) -> str:
    names = sum(isinstance(one, _Name) for one in entries)
    parts = [counted(names, "name")] if names else []
    return " and ".join([*parts, counted(len(entries) - names, "word")] if names < len(entries) else parts)


def _names(repository: Repository) -> list[_Name]:
    found: dict[str, _Name] = {}
    for file, facts in enumerate(repository.facts):
        for index, one in enumerate(facts.definitions if facts is not None else ()):
            if one.kind != "section":
                name = found.setdefault(one.name, _Name(one.name))
                name.count += 1
                if len(name.places) < _MOST_PLACES:
                    name.places.append(Place(file, index))
    return list(found.values())


def _words(repository: Repository) -> list[_Word]:
    forms: dict[str, dict[str, int]] = {}
    found: dict[str, _Word] = {}
    for file, facts in enumerate(repository.facts):
        for word in facts.words if facts is not None else ():
            root = stem(word)
            counts = forms.setdefault(root, {})
            counts[word] = counts.get(word, 0) + 1
            one = found.setdefault(root, _Word(""))
            if one.last != file:
                one.last = file
                one.count += 1
                if len(one.files) < _MOST_PLACES:
                    one.files.append(file)
    for root, one in found.items():
        one.name = min(forms[root], key=lambda form: (-forms[root][form], len(form), form))
    return list(found.values())


def _pages(repository: Repository, letter: str, entries: list[_Entry]) -> Iterator[Page]:
    """The page of a letter or of several first letters, and those that it is divided into."""
    crumbs = [_root(repository), Link("A to Z", ToLetter(""))]
    crumbs += (_link(letter[:length]) for length in range(1, len(letter)) if letter not in (DIGITS, OTHER))
    title = f"{letter.upper() if letter != OTHER else 'Other names'}: names and words"
    own, below = _divided(letter, entries)
    sections: list[Section] = []
    if below:
        items: list[Runs] = [(_link(prefix), f": {_counts(some)}") for prefix, some in below.items()]
        sections.append(Section("Beginnings", [Bullets(items)]))
    names = [_name(repository, one) for one in own if isinstance(one, _Name)]
    words = [_word(repository, one) for one in own if isinstance(one, _Word)]
    sections += (
        Section(heading, [bullets(items, _MOST_ENTRIES)])
        for heading, items in (("Names", names), ("Words", words))
        if items
    )
    yield Page(title, ToLetter(letter), "", sections, crumbs)
    for prefix, some in below.items():
        yield from _pages(repository, prefix, some)


def _divided(letter: str, entries: list[_Entry]) -> tuple[list[_Entry], dict[str, list[_Entry]]]:
    """What stands on a letter's own page, and what on the pages below it."""
    if len(entries) <= _MOST_ENTRIES or letter in (DIGITS, OTHER) or len(letter) >= _LONGEST_PREFIX:
        return entries, {}
    own: list[_Entry] = []
    below: dict[str, list[_Entry]] = {}
    for one in entries:
        prefix = prefix_of(one.name, len(letter) + 1)
        if prefix == letter:
            own.append(one)
        else:
            below.setdefault(prefix, []).append(one)
    return own, below


def _name(repository: Repository, one: _Name) -> Runs:
    parts: list[Runs] = []
    for place in one.places:
        definition, source = repository.definition(place), repository.files[place.file]
        link = Link(f"{source.display}:{definition.line}", ToLine(source.path, definition.line))
        parts.append((f"{definition.kind} ", link))
    return (Code(one.name), ": ", *joined(parts), _more(one.count))


def _word(repository: Repository, one: _Word) -> Runs:
    files = (repository.files[file] for file in one.files)
    return (f"{one.name}: ", *joined((Link(file.display, ToKeywords(file.path)),) for file in files), _more(one.count))


def _more(count: int) -> str:
    return f", and {number(count - _MOST_PLACES)} more" if count > _MOST_PLACES else ""
