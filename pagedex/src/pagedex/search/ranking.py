"""What is found first. ``output/assets/search.js`` does the same, step by step, and a test holds both to it.

A query is cut into words at everything that no name has. Every word must match what is found (where nothing matches
them all, one is enough): its name, best of all; a name around it; a part of its file's path; or, least, the words that
stand in the file's documentation and comments. Points are whole numbers, so that both programs agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pagedex.model.blocks import anchor_of
from pagedex.search.index import Index, default_page, qualname
from pagedex.words.identifiers import parts_of

# How well a word matches a name.
EXACT, SAME, JOINED, PREFIX, PART, PART_PREFIX, INSIDE, TYPO, TYPOS = 100, 95, 90, 80, 70, 60, 40, 30, 20
# What a match elsewhere is worth.
_AROUND, _PATH, _WORD = 2, 3, 12  # the points of a name, halved and divided by three; the points of a word
_USED, _FILE, _SECTION, _PRIVATE, _TEST = -25, -12, -6, -5, -20
_MOST_USES = 8
_SHORTEST_INSIDE, _SHORTEST_TYPO, _SHORTEST_TYPOS = 2, 4, 8
# Mistyped letters are looked for where so few names match as they are written.
_FEW = 3
_SPLIT = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Hit:
    """``kind`` is that of a definition, "used", "file" or "words"; ``line`` 0 means the whole file. ``address`` is
    from the output's folder, ``score`` compares hits of one query."""

    title: str
    kind: str
    path: str
    line: int
    address: str
    score: int


def search(index: Index, query: str, limit: int = 20) -> list[Hit]:
    """The best hits for a query, best first."""
    words = [word for word in _SPLIT.split(query) if word][:8]
    if not words or limit <= 0:
        return []
    return _Search(index, words).hits(limit)


class _Search:
    def __init__(self, index: Index, words: list[str]) -> None:
        self._index = index
        self._names = [*index.names, *index.used_names]
        self._words = words
        self._strict = True
        self._by_name = [self._name_points(word) for word in words]
        self._by_path = [self._path_points(word) for word in words]
        self._by_word = [self._word_lines(word.lower()) for word in words]

    def hits(self, limit: int) -> list[Hit]:
        return self._found(limit) or (self._loosened(limit) if len(self._words) > 1 else [])

    def _loosened(self, limit: int) -> list[Hit]:
        self._strict = False
        return self._found(limit)

    def _found(self, limit: int) -> list[Hit]:
        index = self._index
        # (points, how it is ordered among equals, what, which)
        found: list[tuple[int, int, int, str, int]] = []
        for one in range(len(index.d_name)):
            if points := self._definition(one):
                found.append((-points, 0, one, "definition", one))
        for one in range(len(index.u_name)):
            if points := self._plain(index.u_name[one], index.u_file[one]):
                found.append((-(points + _USED), 1, one, "used", one))
        for one in range(len(index.files)):
            if points := self._file(one):
                found.append((-points, 2, one, "file", one))
        found.sort()
        return [self._hit(what, one, -points) for points, _, _, what, one in found[:limit]]

    # Points of what is found

    def _definition(self, one: int) -> int:
        index = self._index
        file, total, named = index.d_file[one], 0, 0
        for word in range(len(self._words)):
            points = own = self._by_name[word][index.d_name[one]]
            named += own
            if not own:
                points = max(self._around(one, word), self._by_path[word][file] // _PATH)
                points = points or (_WORD if file in self._by_word[word] else 0)
                if not points and self._strict:
                    return 0
            total += points
        if not named:
            return 0
        total += min(index.d_uses[one].bit_length(), _MOST_USES)
        total += 0 if index.d_public[one] else _PRIVATE
        total += _TEST if index.tests[file] else 0
        return max(total + (_SECTION if index.kinds[index.d_kind[one]] == "section" else 0), 1)

    def _around(self, one: int, word: int) -> int:
        index, best = self._index, 0
        parent = index.d_parent[one]
        while parent >= 0:
            best = max(best, self._by_name[word][index.d_name[parent]] // _AROUND)
            parent = index.d_parent[parent]
        return best

    def _plain(self, name: int, file: int) -> int:
        total, named = 0, 0
        for word in range(len(self._words)):
            own = self._by_name[word][name]
            named += own
            points = own or self._by_path[word][file] // _PATH or (_WORD if file in self._by_word[word] else 0)
            if not points and self._strict:
                return 0
            total += points
        return max(total + (_TEST if self._index.tests[file] else 0), 1 - _USED) if named else 0

    def _file(self, file: int) -> int:
        total, named = 0, 0
        for word in range(len(self._words)):
            own = self._by_name[word][self._index.f_name[file]]
            path = self._by_path[word][file] // _AROUND
            points = max(own, path) or (_WORD if file in self._by_word[word] else 0)
            if not points and self._strict:
                return 0
            named += own + path
            total += points
        if not total:
            return 0
        return max(total + _FILE + (_TEST if named and self._index.tests[file] else 0), 1)

    # Points of names, paths and words

    def _name_points(self, word: str) -> list[int]:
        small = word.lower()
        points = [_points(word, small, name) for name in self._names]
        if sum(map(bool, points)) < _FEW and len(word) >= _SHORTEST_TYPO:
            most = 2 if len(word) >= _SHORTEST_TYPOS else 1
            for row, name in enumerate(self._names):
                if not points[row]:
                    distance = min(_distance(small, one, most) for one in (name.lower(), *parts_of(name)))
                    points[row] = TYPO if distance <= 1 else TYPOS if distance <= most else 0
        return points

    def _path_points(self, word: str) -> list[int]:
        small = word.lower()
        known: dict[str, int] = {}
        found = []
        for path in self._index.files:
            best = 0
            for part in path.split("/")[:-1]:
                if part not in known:
                    known[part] = _points(word, small, part)
                best = max(best, known[part])
            found.append(best)
        return found

    def _word_lines(self, word: str) -> dict[int, int]:
        lines: dict[int, int] = {}
        for one, pairs in zip(self._index.stems, self._index.s_files, strict=True):
            if _is_form_of(word, one):
                for file, line in zip(pairs[::2], pairs[1::2], strict=True):
                    lines[file] = min(line, lines.get(file, line))
        return lines

    def _hit(self, what: str, one: int, score: int) -> Hit:
        index = self._index
        if what == "definition":
            title, file = qualname(index, one), index.d_file[one]
            anchor = index.anchors.get(str(one), f"d-{title}")
            kind = index.kinds[index.d_kind[one]]
            page = index.rendered.get(str(file), "") if kind == "section" else ""
            address = f"{page}#{anchor_of(index.names[index.d_name[one]])}" if page else f"{self._page(file)}#{anchor}"
            return Hit(title, kind, index.files[file], index.d_line[one], address, score)
        if what == "used":
            file, line = index.u_file[one], index.u_line[one]
            address = f"{self._page(file)}#L{line}"
            return Hit(self._names[index.u_name[one]], "used", index.files[file], line, address, score)
        lines = [found[one] for found in self._by_word if one in found]
        is_named = any(
            self._by_name[word][index.f_name[one]] or self._by_path[word][one] for word in range(len(self._words))
        )
        if is_named or not lines:
            address = index.rendered.get(str(one), "") or self._page(one)
            return Hit(index.files[one], "file", index.files[one], 0, address, score)
        return Hit(index.files[one], "words", index.files[one], lines[0], f"{self._page(one)}#L{lines[0]}", score)

    def _page(self, file: int) -> str:
        return self._index.addresses.get(str(file), default_page(self._index.files[file]))


def _points(word: str, small: str, name: str) -> int:
    lower = name.lower()
    if small not in lower:
        # extensionregistry is extension_registry.
        return JOINED if "_" in lower and lower.replace("_", "") == small else 0
    if name == word:
        return EXACT
    if lower == small:
        return SAME
    if lower.startswith(small):
        return PREFIX
    parts = parts_of(name)
    if small in parts:
        return PART
    if any(part.startswith(small) for part in parts):
        return PART_PREFIX
    return INSIDE if len(small) >= _SHORTEST_INSIDE else 0


def _is_form_of(word: str, one: str) -> bool:
    """Whether a word may be a form of a stem: one begins with the other, and little follows. Stems end in i where
    words end in y."""
    if word.endswith("y"):
        word = word[:-1] + "i"
    if len(word) < 3 or len(one) < 3:
        return word == one
    return (word.startswith(one) and len(word) - len(one) <= 5) or (one.startswith(word) and len(one) - len(word) <= 5)


def _distance(one: str, other: str, most: int) -> int:
    """How many letters have to be changed, added, left out or swapped with the next; ``most + 1`` where it is more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one):
        after = [at + 1]
        for to, against in enumerate(other):
            cost = min(row[to + 1] + 1, after[to] + 1, row[to] + (letter != against))
            if at and to and letter == other[to - 1] and one[at - 1] == against:
                cost = min(cost, before[to - 1] + 1)
            after.append(cost)
        if min(after) > most:
            return most + 1
        before, row = row, after
    return row[-1]
