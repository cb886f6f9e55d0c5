"""A file's bytes as text, or why they aren't text."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

# Where git looks for a zero byte to tell binary files.
_LOOKED_AT = 8000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The declaration of PEP 263, in one of the first two lines.
_DECLARED = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")


@dataclass(slots=True)
class Text:
    """``text`` has ``\\n`` alone between its lines; ``note`` says what had to be done to read it."""

    text: str
    encoding: str
    note: str = ""


def decode(content: bytes) -> Text | None:
    """The text of a file, or None for a binary one: a zero byte among its first 8,000, where no mark says UTF-16 or
    -32.

    What isn't UTF-8 is read as the encoding that the file declares, else, where it has no sequence of UTF-8 at all, as
    Latin-1, else as UTF-8 with a mark in place of each byte that can't be read.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            text, broken = _read(content, encoding)
            return Text(_lines(text), encoding, "" if not broken else f"broken {encoding}, read as far as it goes")
    if b"\0" in content[:_LOOKED_AT]:
        return None
    try:
        return Text(_lines(content.decode("utf-8")), "utf-8")
    except UnicodeDecodeError:
        pass
    if (declared := _DECLARED.match(content)) is not None:
        name = declared.group(1).decode("ascii")
        try:
            if not codecs.lookup(name)._is_text_encoding:
                raise LookupError
            return Text(_lines(content.decode(name)), name.lower())
        except (LookupError, UnicodeError):
            pass
    text = content.decode("utf-8", "replace")
    replaced = text.count("�") - content.count("�".encode())
    if not any(ord(letter) > 127 for letter in text.replace("�", "")):
        return Text(_lines(content.decode("latin-1")), "latin-1", "not UTF-8; read as Latin-1")
    return Text(_lines(text), "utf-8", f"broken UTF-8: {replaced} places can't be read and show as �")


def _read(content: bytes, encoding: str) -> tuple[str, bool]:
    try:
        return content.decode(encoding), False
    except UnicodeDecodeError:
        return content.decode(encoding, "replace"), True


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def line_count(text: str) -> int:
    """How many lines a text has; a last one without its ``\\n`` counts."""
    return text.count("\n") + (not text.endswith("\n")) if text else 0
