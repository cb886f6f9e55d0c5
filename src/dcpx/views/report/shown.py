"""Text of a checkpoint as a page may hold it: nothing in it is taken for markup, and nothing hides."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["script_json", "visible"]

LONGEST = 1000
"""Characters of a name or value that are shown."""


def visible(text: str, longest: int = LONGEST) -> str:
    r"""The text with every character that can't be seen, or that turns the order of others, as an escape such as \x1b
    or \u202e; of a text that is too long the middle is left out."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


_ESCAPES = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def script_json(value: Any) -> str:
    """The value as JSON that may stand in a script element: no character in it begins a tag or ends a line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
