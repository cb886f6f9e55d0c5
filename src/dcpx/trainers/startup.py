"""`dcpx.install()` by an environment variable, for scripts that nobody may edit.

`dcpx.pth` beside the package imports this as Python starts, where DCPX_INSTALL is set: to `1`, or to words that say
how, with commas between them.

    DCPX_INSTALL=1                    dcpx.install()
    DCPX_INSTALL=stock                dcpx.install(names="stock")
    DCPX_INSTALL=lenient              dcpx.install(strict=False)
    DCPX_INSTALL=trust                dcpx.install(trust=True)
    DCPX_INSTALL=0                    nothing, as without it; also false, no, off

Nothing of torch is imported for it: it happens once the script itself has imported `torch.distributed.checkpoint`.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from ..after_import import after_import

__all__ = ["begin"]

_WORDS: dict[str, dict[str, Any]] = {
    "1": {},
    "true": {},
    "stock": {"names": "stock"},
    "lenient": {"strict": False},
    "trust": {"trust": True},
}
_OFF = ("0", "false", "no", "off")
_begun = False
"""A Python of a virtual environment reads `dcpx.pth` twice where two of its folders are one."""


def begin() -> None:
    """Install what DCPX_INSTALL asks for once DCP is imported. What it doesn't know is said on the standard error
    stream, and nothing is installed: a process isn't ended by what was meant for another."""
    global _begun
    if _begun:
        return
    _begun = True
    said = os.environ.get("DCPX_INSTALL", "")
    unknown = [word for word in _words() if word not in _WORDS]
    if unknown:
        known = ", ".join(_WORDS)
        print(f"dcpx: DCPX_INSTALL={said!r} is ignored: {unknown[0]!r} is none of {known}", file=sys.stderr)
    elif _words():
        after_import("torch.distributed.checkpoint", _install, is_ready=lambda module: hasattr(module, "save"))


def _words() -> list[str]:
    words = [word.strip().lower() for word in os.environ.get("DCPX_INSTALL", "").split(",") if word.strip()]
    return [] if words in ([word] for word in _OFF) else words


def _install(module: ModuleType) -> None:
    from .install import install

    install(**{name: value for word in _words() for name, value in _WORDS[word].items()})
