"""What a page is told as JSON in it: nothing of it is taken for markup."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["script_json"]

_ESCAPES = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def script_json(value: Any) -> str:
    """The value as JSON that may stand in a script element: no character in it begins a tag or ends a line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
