"""The page's files and a report's content, joined into one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import lru_cache
from importlib.resources import files
from string import Template
from typing import Any

from .embedded import script_json

__all__ = ["SCRIPTS", "joined"]

SCRIPTS = (
    "data.js",
    "text.js",
    "theme.js",
    "charts.js",
    "header.js",
    "tree.js",
    "treemap.js",
    "bars.js",
    "exponents.js",
    "steps.js",
    "details.js",
    "table.js",
    "printing.js",
    "main.js",
)
"""Those of the page in the order in which they run, all in one scope."""


def joined(title: str, content: dict[str, Any]) -> str:
    """The whole page. Its policy lets nothing run or be fetched but what is in it."""
    library = _asset("vendor", "echarts.min.js")
    script = _script()
    style = _asset("page", "style.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(library)} {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return Template(_asset("page", "page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        data=script_json(content),
        library=library,
        script=script,
    )


@lru_cache
def _asset(folder: str, name: str) -> str:
    return files(__package__).joinpath(folder).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    body = "\n".join(_asset("page", name) for name in SCRIPTS)
    return f'\n"use strict";\n(() => {{\n{body}}})();\n'


def _hash(text: str) -> str:
    """What a policy calls a script or a sheet by, which stands in its element as it is here."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
