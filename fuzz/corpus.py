"""The corpora as archives: thousands of files of a few bytes are no use to anybody but the fuzzer.

    python3 corpus.py unpack corpus/TARGET.zip FOLDER    adds the archive's inputs to the folder
    python3 corpus.py pack FOLDER corpus/TARGET.zip      makes the archive of the folder's files

The same inputs make the same archive anywhere: in the order of their names, which are their SHA-1 as libFuzzer has it,
uncompressed, and without dates.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path

__all__ = ["inputs", "pack", "unpack"]


def inputs(archive: Path) -> dict[str, bytes]:
    """The inputs of an archive by their names; ValueError unless each is named for its content."""
    with zipfile.ZipFile(archive) as file:
        found = {name: file.read(name) for name in file.namelist()}
    for name, data in found.items():
        if name != _name(data):
            raise ValueError(f"{archive}: the input {name!r} should be named {_name(data)}")
    return found


def unpack(archive: Path, folder: Path) -> int:
    """Write an archive's inputs into `folder`, and return how many they are."""
    folder.mkdir(parents=True, exist_ok=True)
    found = inputs(archive)
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return len(found)


def pack(folder: Path, archive: Path) -> int:
    """Make the archive of all files in `folder`, in place of the one before, and return how many they are."""
    contents = {_name(data): data for data in (path.read_bytes() for path in folder.iterdir())}
    partial = archive.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            file.writestr(entry, contents[name])
    os.replace(partial, archive)
    return len(contents)


def _name(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def main(arguments: list[str]) -> None:
    works = {"pack": pack, "unpack": unpack}
    if len(arguments) != 3 or arguments[0] not in works:
        raise SystemExit(__doc__)
    work, source, target = arguments[0], Path(arguments[1]), Path(arguments[2])
    print(f"{target}: {works[work](source, target)} inputs")


if __name__ == "__main__":
    main(sys.argv[1:])
