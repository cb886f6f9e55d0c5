"""What the files of a checkpoint are called, and which of them a save or a clean-up may touch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

__all__ = [
    "METADATA",
    "data_file_names",
    "is_data_file",
    "is_manifest",
    "is_pointer",
    "is_scaffold",
    "manifest_name",
    "metadata_name",
    "owner_name",
    "save_of",
    "temporary_name",
]

METADATA = ".metadata"
"""The pointer: what it refers to is the checkpoint."""

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OF_A_SAVE = re.compile(rf"({_UUID})(?:__\d+_\d+\.distcp|(?:__\d+)?\.metadata\.tmp|\.manifest\.json|\.saving)")
_DATA_FILE = re.compile(rf"(?:{_UUID})?__\d+_\d+\.distcp")
_POINTER = re.compile(r"(?:__\d+)?\.metadata")


def metadata_name(rank: int | None = None) -> str:
    """The pointer's name: the common one, or that of a rank which was saved without collectives."""
    return METADATA if rank is None else f"__{rank}{METADATA}"


def temporary_name(save_id: str, pointer: str) -> str:
    """The name under which `pointer` is written before it is moved to its place."""
    return f"{save_id}{pointer}.tmp"


def manifest_name(save_id: str) -> str:
    """The name of a save's manifest; `save_id` is its UUID, in hexadecimal with hyphens."""
    return f"{save_id}.manifest.json"


def owner_name(save_id: str) -> str:
    """The name of the file that says which process is saving, as long as it does."""
    return f"{save_id}.saving"


def data_file_names(save_id: str, rank_part: str) -> Iterator[str]:
    """Names for the data files of one rank, without end; several threads may take from them.

    `rank_part` stands between the save's UUID and the file's number: `__3_` for rank 3.
    """
    return map(f"{save_id}{rank_part}{{}}.distcp".format, count())


def is_data_file(name: str) -> bool:
    """Whether it is the name of a data file, as dcpx or stock DCP gives it."""
    return _DATA_FILE.fullmatch(name) is not None


def is_pointer(name: str) -> bool:
    """Whether it is the name of a `.metadata`, or of one rank's."""
    return _POINTER.fullmatch(name) is not None


def is_manifest(name: str) -> bool:
    """Whether it is the name of a save's manifest."""
    save = save_of(name)
    return save is not None and name == manifest_name(save)


def is_scaffold(name: str) -> bool:
    """Whether it is the name of a file that a save needs only as long as it runs: its owner's, or that of a pointer
    which isn't in its place yet."""
    return save_of(name) is not None and name.endswith((".saving", ".tmp"))


def save_of(name: str) -> str | None:
    """The UUID of the save that a file belongs to by its name; None for a pointer, stock DCP's files and all others."""
    found = _OF_A_SAVE.fullmatch(name)
    return None if found is None else found[1]
