"""A checkpoint's files: which they are, damage to them, and manifests that agree with what was changed.

The last for what lies behind that check, and for enemies.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from xxhash import xxh3_128_hexdigest

__all__ = ["data_file", "flip", "item_seal", "manifest_file", "reseal", "seal", "stored"]


def data_file(path: Path) -> Path:
    """The checkpoint's only data file."""
    (file,) = path.glob("*.distcp")
    return file


def manifest_file(path: Path) -> Path:
    """The checkpoint's manifest."""
    (file,) = path.glob("*.manifest.json")
    return file


def stored(path: Path) -> dict[str, Any]:
    """Where every item lies, by name."""
    metadata = pickle.loads((path / ".metadata").read_bytes())
    return {index.fqn: info for index, info in metadata.storage_data.items()}


def flip(path: Path, at: int) -> None:
    """Flip a bit of the byte at this offset of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def seal(members: dict[str, Any]) -> bytes:
    """A manifest of these members with the checksum that it needs, after spec/manifest.md."""
    body = json.dumps(members, separators=(",", ":")).encode()[:-1]
    return body + b',"checksum":"' + xxh3_128_hexdigest(body).encode() + b'"}\n'


def item_seal(stored: bytes, descriptors: list[str] | None) -> dict[str, str]:
    """The seal of an item, after spec/manifest.md; of what isn't a frame where one should be, any."""
    if descriptors != ["stream.pack@dcpx/1"]:
        return {"stored": xxh3_128_hexdigest(stored)}
    return {"header": stored[: int.from_bytes(stored[12:16], "little")][-8:][::-1].hex().rjust(16, "0")}


def reseal(path: Path) -> None:
    """Make the manifest describe the files as they are now."""
    file = manifest_file(path)
    members = json.loads(file.read_bytes())
    del members["checksum"]
    pointer = (path / ".metadata").read_bytes()
    members["metadata"] |= {"size": len(pointer), "xxh3_128": xxh3_128_hexdigest(pointer)}
    contents = {one.name: one.read_bytes() for one in path.glob("*.distcp")}
    members["files"] = [
        {"name": name, "size": max(len(content), 1 << 50), "xxh3_128": xxh3_128_hexdigest(content)}
        for name, content in contents.items()
    ]
    members["items"] = [
        {
            "fqn": index.fqn,
            "offsets": None if index.offset is None else list(index.offset),
            **item_seal(
                contents[info.relative_path][info.offset :][: info.length], getattr(info, "transform_descriptors", None)
            ),
        }
        for index, info in pickle.loads(pointer).storage_data.items()
    ]
    file.write_bytes(seal(members))
