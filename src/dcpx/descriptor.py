"""The descriptor grammar `name[@local-domain][/version]`, strict and pure.

    descriptor   = name [ "@" domain ] [ "/" version ]
    name, domain = ALNUM *( ALNUM / "." / "_" / "-" )
    version      = 1*( printable ASCII but space )

`name[@local-domain]` is the key under which a registry knows an extension; by convention the local domain is the
name of the package that brings it. The version belongs to the extension: only it knows what its text means. DCP
stores descriptors as plain strings in `.metadata`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import ExtensionError

__all__ = ["Descriptor", "check_key"]

FORM = "The form is name[@local-domain][/version]"

MAX_LENGTH = 1024
"""Characters; a longer descriptor is refused."""

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_GRAMMAR = re.compile(rf"(?P<name>{_WORD})(@(?P<domain>{_WORD}))?(/(?P<version>[!-~]+))?", re.ASCII)


@dataclass(frozen=True)
class Descriptor:
    """A parsed descriptor. `version` is '' where the text has none, as the extension contract hands it on."""

    name: str
    domain: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Descriptor:
        """Parse `text`, or raise ExtensionError (a ValueError) that shows the grammar."""
        if isinstance(text, str) and len(text) > MAX_LENGTH:
            raise ExtensionError(
                f"a descriptor has at most {MAX_LENGTH} characters, {_shown(text)} has {len(text)}", None, FORM
            )
        match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ExtensionError(f"{_shown(text)} is no extension descriptor", None, FORM)
        return cls(match["name"], match["domain"] or "", match["version"] or "")

    @property
    def key(self) -> str:
        """`name[@local-domain]`, what a registry looks up."""
        return f"{self.name}@{self.domain}" if self.domain else self.name

    def __str__(self) -> str:
        return f"{self.key}/{self.version}" if self.version else self.key


def check_key(key: str) -> str:
    """Return `key` if it has the form `name[@local-domain]`, else raise ExtensionError."""
    if Descriptor.parse(key).version:
        raise ExtensionError(f"{_shown(key)} is no registry name", None, "The form is name[@local-domain], no version")
    return key


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 200 else shown[:200] + "..."
