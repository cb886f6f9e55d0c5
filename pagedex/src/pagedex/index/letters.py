"""Under which letter a name stands."""

from __future__ import annotations

DIGITS = "0-9"
OTHER = "other"


def sort_key(name: str) -> tuple[str, str]:
    """Alphabetical without regard to capitals and to underscores in front; names that agree in this by themselves."""
    return name.lstrip("_").lower() or name, name


def letter_of(name: str) -> str:
    """A letter from a to z, ``DIGITS`` or ``OTHER``: those are parts of addresses too."""
    first = sort_key(name)[0][:1]
    return first if "a" <= first <= "z" else DIGITS if first.isascii() and first.isdigit() else OTHER


def prefix_of(name: str, length: int) -> str:
    """The first letters of a name in lower case, ``_`` for what is neither a letter from a to z nor a digit."""
    start = sort_key(name)[0][:length]
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in start)
