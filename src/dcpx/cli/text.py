"""Text for a terminal: what a checkpoint says made harmless, and numbers as people read them."""

from __future__ import annotations

__all__ = ["printable", "ratio_text", "size_text"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def printable(text: str) -> str:
    """The text with whatever a terminal might obey, or not show, as an escape: control characters, those that change
    the direction of writing, and lone surrogates. Backslashes are doubled where there is any such, so that no name can
    pretend."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text.replace("\\", "\\\\")
    )


def size_text(nbytes: int, *, exact: bool = False) -> str:
    """Bytes with three digits and a decimal unit, or `exact` to the byte."""
    if exact:
        return f"{nbytes:,}"
    size, unit = float(nbytes), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    digits = 0 if unit == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{size:.{digits}f} {_UNITS[unit]}"


def ratio_text(stored: int, nbytes: int) -> str:
    """Stored bytes as a share of the raw ones; empty where there are none."""
    return f"{stored / nbytes:.3f}" if nbytes else ""
