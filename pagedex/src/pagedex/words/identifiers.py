"""Identifiers in text: which words of prose are names of something, and the parts that a name is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator

# ZStandard, EndlessZstdDecompressor, get_descriptor, EOF, utf8: an underscore, a capital inside, capitals alone, a
# digit.
_TOKEN = re.compile(r"(?<![\w.])[^\W\d][\w]*(?:\.[^\W\d]\w*)*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_LONGEST = 200


def is_name(word: str) -> bool:
    """Whether a word of prose is an identifier, or an abbreviation that is looked up like one, and no plain word."""
    if not 2 <= len(word) <= _LONGEST:
        return False
    inner = word[1:]
    return (
        "_" in word.strip("_")
        or (word.isupper() and word.isalnum())
        or (any(letter.isupper() for letter in inner) and any(letter.islower() for letter in word))
        or (any(letter.isdigit() for letter in inner) and any(letter.isalpha() for letter in word))
    )


def names_in_prose(text: str) -> Iterator[tuple[str, int]]:
    """The identifiers of a prose text, each with the position of its first letter. Of a dotted name, each part that
    stands as a name, and what follows the first dot always: ``os.path`` gives ``path``."""
    for match in _TOKEN.finditer(text):
        position = match.start()
        dotted = match.group().split(".")
        for index, part in enumerate(dotted):
            # A sentence's end looks like a dot inside a name when no space follows: only letters in lower case count.
            if is_name(part) or (index > 0 and part[:1].islower() and len(part) > 1):
                yield part, position
            position += len(part) + 1


def parts_of(identifier: str) -> tuple[str, ...]:
    """``EndlessZstdDecompressor`` is endless, zstd, decompressor; ``HTTPServer2`` is http, server, 2;
    ``get_descriptor`` is get, descriptor: in lower case, in order."""
    return tuple(part.lower() for part in _PART.findall(identifier))
