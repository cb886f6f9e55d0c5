"""Text for a terminal: what a checkpoint says made harmless, and numbers as people read them."""

from __future__ import annotations

from ..views.shown import size_text

__all__ = ["printable", "ratio_text", "size_text"]


def printable(text: str) -> str:
    """The text with whatever a terminal might obey, or not show, as an escape: control characters, those that change
    the direction of writing, and lone surrogates. Backslashes are doubled where there is any such, so that no name can
    pretend."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text.replace("\\", "\\\\")
    )


def ratio_text(stored: int, nbytes: int) -> str:
    """Stored bytes as a share of the raw ones; empty where there are none."""
    return f"{stored / nbytes:.3f}" if nbytes else ""
