"""What a checkpoint says made visible, and numbers as people read them, for a terminal, a notebook and a page."""

from __future__ import annotations

__all__ = ["named", "rate_text", "size_text", "visible"]

LONGEST = 1000
"""Characters of a name or value that are shown."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def visible(text: str, longest: int = LONGEST) -> str:
    r"""The text with every character that can't be seen, or that turns the order of others, as an escape such as \x1b
    or \u202e; of a text that is too long the middle is left out."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def named(name: str) -> str:
    """A name as it is shown among others: in quotes where it would seem to be another, or none, without them."""
    return name if name and name == name.strip() else f"'{name}'"


def size_text(nbytes: float, *, exact: bool = False) -> str:
    """Bytes with three digits and a decimal unit, or `exact` to the byte."""
    if exact:
        return f"{nbytes:,}"
    size, unit = float(nbytes), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    digits = 0 if unit == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{size:.{digits}f} {_UNITS[unit]}"


def rate_text(rate: float) -> str:
    """Bytes in a second, likewise."""
    return f"{size_text(rate)}/s"
