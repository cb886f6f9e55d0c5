"""Where each page lies in the output, and how to get from one to another.

All forms of a page lie beside each other: ``a/b.py_docs.md``, ``a/b.py_docs.html``. Names are the same on every
system, and no two pages have the same one: a repository's folder that is called like a page gets ``_dir`` appended, a
name longer than file systems take is cut and told apart by a digest.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from functools import lru_cache
from urllib.parse import quote

# The longest name that common file systems take, in bytes, less what it has at its end until it is whole.
_LONGEST = 240
RESERVED = "_pagedex"
# What a folder of the repository can't be called in the output, and what that becomes when it is escaped.
_TAKEN = re.compile(r"(?:.*_(?:docs|kw)\.(?:md|html|json)|(?:index|doc|sub)\.(?:md|html)|_pagedex|llms\.txt)(?:_dir)*")
_ENDS = {"docs": "_docs", "kw": "_kw"}


@lru_cache(maxsize=1 << 16)
def of_folder(path: str) -> str:
    """The output's folder for a folder of the repository; both without a slash at the end, ``""`` the root."""
    return (
        "/".join(_cut(part + "_dir" if _TAKEN.fullmatch(part) else part, "") for part in path.split("/"))
        if path
        else ""
    )


@lru_cache(maxsize=1 << 16)
def of_file(path: str, kind: str, form: str) -> str:
    """The name of a file's page: ``kind`` is "docs" or "kw", ``form`` is "md", "html" or "json"."""
    folder, _, name = path.rpartition("/")
    return posixpath.join(of_folder(folder), _cut(name, f"{_ENDS[kind]}.{form}"))


def of_folder_page(path: str, page: str, form: str) -> str:
    """The name of a folder's page: ``page`` is "index", "doc" or "sub"."""
    return posixpath.join(of_folder(path), f"{page}.{form}")


def of_letter(letter: str, form: str) -> str:
    """The name of the page of the A-Z with the words of one letter."""
    plain = letter if letter.isascii() and letter.isalnum() else "u-" + "-".join(f"{ord(one):x}" for one in letter)
    plain = plain if letter else "letters-all"
    return f"{RESERVED}/a-z/{plain.lower()}.{form}"


def relative(start: str, target: str) -> str:
    """The address of ``target`` on the page ``start``, percent-encoded; both names from the same folder."""
    return _way(start.rpartition("/")[0], target)


@lru_cache(maxsize=1 << 17)
def _way(folder: str, target: str) -> str:
    # Not os.path's: both begin at the output, which ".." at the beginning of a target leaves, wherever it lies.
    here, there = folder.split("/") if folder else [], target.split("/")
    shared = 0
    while shared < min(len(here), len(there) - 1) and here[shared] == there[shared]:
        shared += 1
    return encoded("/".join([*[".."] * (len(here) - shared), *there[shared:]]))


def encoded(path: str) -> str:
    """A path as part of an address. Bytes that aren't UTF-8 stay what they are."""
    return quote(os.fsencode(path), safe="/~!$*,;=@-._+")


def fragment(anchor: str) -> str:
    """A place in a page as part of an address."""
    return quote(anchor, safe="/~!$*,;=@-._+:?", errors="surrogatepass")


def _cut(name: str, end: str) -> str:
    whole = os.fsencode(name)
    if len(whole) + len(end) <= _LONGEST:
        return name + end
    digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
    kept = whole[: _LONGEST - len(end) - len(digest) - 1].decode("utf-8", "ignore")
    return f"{kept}~{digest}{end}"
