"""Golden checkpoints with one thing wrong in the manifest, in a file, or in a stored item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bad_pointers import Wrong
from checkpoint_vectors import FLOATS, OBJECT, OTHER, SMALL, ZSTD, copies, packed, plain, two
from drafts import UUID, Draft, Part, Tensor, made, object_bytes, torch_tensor
from pickled import Call, Global

from dcpx.errors import CorruptError, TruncatedError, UnsupportedError


def member(name: str, value: Any) -> Draft:
    return two(members=lambda members: members.update({name: value}))


def without(name: str) -> Draft:
    return two(members=lambda members: members.pop(name))


def within(of: str, number: int, **changes: Any) -> Draft:
    return two(members=lambda members: members[of][number].update(changes))


def manifest_bytes(change: Callable[[bytes], bytes]) -> Draft:
    """The manifest's file changed, with the checksum as it was."""
    name = f"{UUID}.manifest.json"
    return two(files=lambda files: files.update({name: change(files[name])}))


def removed(name: str) -> Draft:
    return two(files=lambda files: files.pop(name))


DATA = f"{UUID}__0_0.distcp"

BAD_MANIFESTS: dict[str, Wrong] = {
    "bad_manifest_missing": (removed(f"{UUID}.manifest.json"), CorruptError, "no manifest, of data files of a save"),
    "bad_manifest_unnamed": (
        two(metadata=lambda fields: made("Metadata", fields | {"storage_meta": None})),
        CorruptError,
        "data files of a save, and no save's UUID",
    ),
    "bad_manifest_cut": (manifest_bytes(lambda data: data[:-1]), TruncatedError, "no newline at the end"),
    "bad_manifest_checksum": (
        manifest_bytes(lambda data: data.replace(b'"step":7', b'"step":8')),
        CorruptError,
        "a changed digit",
    ),
    "bad_manifest_version": (member("manifest", 2), UnsupportedError, "version 2"),
    "bad_manifest_version_bool": (member("manifest", True), CorruptError, "a version that is true"),
    "bad_manifest_no_user": (without("user"), CorruptError, "no user"),
    "bad_manifest_no_items": (without("items"), CorruptError, "no items"),
    "bad_manifest_world_size": (member("world_size", -1), CorruptError, "a world of -1 ranks"),
    "bad_manifest_world_size_float": (member("world_size", 1.0), CorruptError, "a world of 1.0 ranks"),
    "bad_manifest_bases": (member("bases", [1]), CorruptError, "a base that is a number"),
    "bad_manifest_other_checkpoint": (member("checkpoint", OTHER), CorruptError, "another save's UUID"),
    "bad_manifest_pointer_size": (
        two(members=lambda of: of["metadata"].update(size=1)),
        CorruptError,
        "another size of the pointer",
    ),
    "bad_manifest_pointer_hash": (
        two(members=lambda of: of["metadata"].update(xxh3_128="0" * 32)),
        CorruptError,
        "another hash of the pointer",
    ),
    "bad_manifest_pointer_name": (
        two(members=lambda of: of["metadata"].update(name="__0.metadata")),
        CorruptError,
        "another name of the pointer",
    ),
    "bad_manifest_name_twice": (two(sealed=lambda body: body + b',"dcpx":"0.1.0"'), CorruptError, "a name twice"),
    "bad_manifest_nan": (two(sealed=lambda body: body + b',"x":NaN'), CorruptError, "NaN"),
    "bad_manifest_infinity": (two(sealed=lambda body: body + b',"x":-Infinity'), CorruptError, "-Infinity"),
    "bad_manifest_not_ascii": (
        two(sealed=lambda body: body + ',"x":"é"'.encode()),
        CorruptError,
        "UTF-8 that isn't ASCII",
    ),
    "bad_manifest_byte_order_mark": (
        two(sealed=lambda body: b"\xef\xbb\xbf" + body),
        CorruptError,
        "a byte order mark",
    ),
    "bad_manifest_not_json": (two(sealed=lambda body: body + b","), CorruptError, "a comma before the last brace"),
    "bad_manifest_file_twice": (
        two(members=lambda members: members["files"].append(members["files"][0])),
        CorruptError,
        "a file twice",
    ),
    "bad_manifest_file_name": (
        within("files", 0, name="../data.distcp"),
        CorruptError,
        "a name that is no data file's",
    ),
    "bad_manifest_file_digits": (within("files", 0, xxh3_128="A" * 32), CorruptError, "a hash in upper case"),
    "bad_manifest_file_small": (within("files", 0, size=100), CorruptError, "an item beyond the end of its file"),
    "bad_manifest_item_missing": (two(members=lambda members: members["items"].pop()), CorruptError, "an item too few"),
    "bad_manifest_item_twice": (
        two(members=lambda members: members["items"].append(members["items"][0])),
        CorruptError,
        "an item twice",
    ),
    "bad_manifest_item_unknown": (within("items", 0, fqn="c"), CorruptError, "an item that the pointer hasn't"),
    "bad_manifest_item_offsets": (within("items", 0, offsets=[0, 1]), CorruptError, "an item at another offset"),
    "bad_manifest_item_unsealed": (
        two(members=lambda members: members["items"][0].pop("header")),
        CorruptError,
        "no hash",
    ),
    "bad_manifest_item_both": (within("items", 0, stored="0" * 32), CorruptError, "both hashes of one item"),
    "bad_manifest_stored_of_frame": (
        two(parts=[replace(two().parts[0], seal={"stored": "0" * 32}), *two().parts[1:]]),
        CorruptError,
        "a frame's item with stored, whatever its value",
    ),
    "bad_manifest_header_of_plain": (
        two(parts=[replace(plain(two().parts[0], FLOATS), seal={"header": "0" * 16}), *two().parts[1:]]),
        CorruptError,
        "a plain item with header, whatever its value",
    ),
}

# --- bad files and items ----------------------------------------------------------------------------------------------


def first(part: Part) -> Draft:
    return two(parts=[part, *two().parts[1:]])


def plain_first(data: bytes, descriptors: list[str] | None = None) -> Draft:
    return first(plain(two().parts[0], data, descriptors))


def swap(draft: Draft) -> Draft:
    one, other, *rest = draft.parts
    return replace(draft, parts=[replace(one, stored=other.stored), replace(other, stored=one.stored), *rest])


LONGER = torch_tensor("float32", "Float", 6, SMALL, (0, (2, 3), (4, 1)))
UNCHECKED = FLOATS.replace(SMALL, SMALL[:-1] + b"?")

BAD_FILES: dict[str, Wrong] = {
    "bad_file_missing": (removed(DATA), CorruptError, "no data file"),
    "bad_file_cut": (
        two(files=lambda files: files.update({DATA: files[DATA][:-1]})),
        TruncatedError,
        "a data file too short",
    ),
    "bad_file_long": (
        two(files=lambda files: files.update({DATA: files[DATA] + b"\0"})),
        CorruptError,
        "a data file too long",
    ),
    "bad_file_hash": (within("files", 0, xxh3_128="0" * 32), CorruptError, "another hash of a data file"),
    "bad_copy_shape": (copies(Tensor("float32", (3, 2))), CorruptError, "two items at one place, of different shapes"),
    "bad_copy_dtype": (copies(Tensor("int32", (2, 3))), CorruptError, "two items at one place, of different dtypes"),
    "bad_copy_length": (
        copies(length=len(two().parts[0].stored) + 1),
        CorruptError,
        "an item that begins where another one does, and is longer",
    ),
    "bad_copy_seal": (
        replace(
            copies(), parts=[two().parts[0], replace(copies().parts[1], seal={"header": "0" * 16}), two().parts[2]]
        ),
        CorruptError,
        "two items at one place, sealed differently",
    ),
    "bad_items_swapped": (swap(two()), CorruptError, "two items of one shape in each other's place"),
    "bad_item_header": (
        first(replace(two().parts[0], seal={"header": "0" * 16})),
        CorruptError,
        "another hash of the header",
    ),
    "bad_item_stored": (
        first(replace(plain(two().parts[0], FLOATS), seal={"stored": "0" * 32})),
        CorruptError,
        "another hash of the stored bytes",
    ),
    "bad_item_other_checkpoint": (
        first(packed("a", "float32", (2, 3), SMALL, uuid=OTHER)),
        CorruptError,
        "another save's frame",
    ),
    "bad_item_hint_dtype": (
        first(packed("a", "float32", (2, 3), SMALL, hint=("int32", (2, 3)))),
        CorruptError,
        "a hint of another dtype",
    ),
    "bad_item_hint_shape": (
        first(packed("a", "float32", (2, 3), SMALL, hint=("float32", (3, 2)))),
        CorruptError,
        "a hint of another shape",
    ),
    "bad_item_dtype": (
        plain_first(torch_tensor("int32", "Int", 6, SMALL, (0, (2, 3), (3, 1)))),
        CorruptError,
        "a container of another dtype",
    ),
    "bad_item_shape": (
        plain_first(torch_tensor("float32", "Float", 6, SMALL, (0, (3, 2), (2, 1)))),
        CorruptError,
        "a container of another shape",
    ),
    "bad_item_storage": (
        plain_first(torch_tensor("float32", "Float", 7, SMALL, (0, (2, 3), (3, 1)))),
        CorruptError,
        "a storage that is longer than its entry",
    ),
    "bad_item_view": (plain_first(LONGER), CorruptError, "strides that lead beyond the storage"),
    "bad_item_shared": (
        plain_first(torch_tensor("float32", "Float", 3, SMALL[:12], (0, (2, 3), (0, 1)))),
        UnsupportedError,
        "elements that share their bytes",
    ),
    "bad_item_mark": (
        plain_first(torch_tensor("float32", "Float", 6, SMALL, (0, (2, 3), (3, 1)), {"flip": True})),
        UnsupportedError,
        "a mark that nobody knows",
    ),
    "bad_item_cut": (plain_first(FLOATS[:-1]), TruncatedError, "a container without its last byte"),
    "bad_item_not_archive": (plain_first(SMALL), TruncatedError, "bare elements"),
    "bad_item_compressed": (plain_first(FLOATS, [ZSTD]), CorruptError, "a plain container that should be Zstandard's"),
    "bad_item_code": (
        plain_first(
            object_bytes(Call(Global("posix", "system"), ("true",))),
        ),
        UnsupportedError,
        "a container that calls posix.system",
    ),
    "bad_item_object": (plain_first(OBJECT), UnsupportedError, "a container of a number"),
    "bad_item_descriptor": (
        first(replace(two().parts[0], descriptors=["stream.other@else/1"])),
        UnsupportedError,
        "an unknown transform",
    ),
}
