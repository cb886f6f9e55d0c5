"""The files beside the pages: style and scripts."""

from __future__ import annotations

from importlib.resources import files

from pagedex.output.names import RESERVED

_ASSETS = ("style.css", "search.css", "theme.js", "site.js", "search.js")


def assets() -> dict[str, bytes]:
    """Name in the output -> content."""
    folder = files("pagedex.output") / "assets"
    return {f"{RESERVED}/{name}": (folder / name).read_bytes() for name in _ASSETS}
