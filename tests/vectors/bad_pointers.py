"""Golden checkpoints whose pointer has one thing wrong; the manifest says what is in it as it is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from checkpoint_vectors import two
from drafts import DCP, PACK, Draft, Part, Tensor, index, made, packed_tensor, properties
from pickled import Pairs, Words

from dcpx.errors import CorruptError, DcpxError, LimitError, TruncatedError, UnsupportedError

Wrong = tuple[Draft, type[DcpxError], str]
"""A checkpoint, the class of the error, and a phrase of what is wrong."""


def field_of(record: str, **changes: Any) -> Callable[[dict[str, Any]], Any]:
    """Metadata of which every object of this class has other fields."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return Pairs([(walk(key), walk(one)) for key, one in value.items()])
        if isinstance(value, list):
            return [walk(one) for one in value]
        if hasattr(value, "cls") and isinstance(value.states[0] if value.states else None, dict):
            fields = {name: walk(one) for name, one in value.states[0].items()}
            of = value.cls.name == record
            return type(value)(value.cls, (fields | changes if of else fields,))
        return value

    return lambda fields: walk(made("Metadata", fields))


def spliced(words: bytes) -> Callable[[dict[str, Any]], Any]:
    """Metadata with these opcodes in the place of the version."""
    return lambda fields: made("Metadata", fields | {"version": Words(words)})


def with_field(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: made("Metadata", fields | {name: value})


def shards(
    *chunks: tuple[tuple[int, ...], tuple[int, ...]], dtype: str = "float32", shape: tuple[int, ...] = (4,)
) -> Draft:
    return Draft(
        {"a": Tensor(dtype, shape, list(chunks))},
        [
            Part("a", begin, packed_tensor("a", begin, dtype, sizes, b""), [PACK])
            for begin, sizes in dict(chunks).items()
        ],
    )


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


BAD_POINTERS: dict[str, Wrong] = {
    "bad_pointer_empty": (two(manifest=False, pickled=lambda data: b""), TruncatedError, "an empty pointer"),
    "bad_pointer_cut": (two(manifest=False, pickled=lambda data: data[:-1]), TruncatedError, "no STOP"),
    "bad_pointer_bytes_behind": (two(pickled=lambda data: data + b"\0"), CorruptError, "a byte behind STOP"),
    "bad_pointer_protocol_1": (two(pickled=lambda data: b"\x80\1" + data[2:]), CorruptError, "protocol 1"),
    "bad_pointer_frame_beyond": (
        two(pickled=lambda data: data[:2] + b"\x95" + struct.pack("<Q", len(data)) + data[11:]),
        TruncatedError,
        "a FRAME that is longer than the file",
    ),
    "bad_pointer_no_metadata": (two(metadata=lambda fields: "1.0.0"), CorruptError, "a string in place of Metadata"),
    "bad_pointer_names_code": (
        two(metadata=spliced(b"cposix\nsystem\nX\4\0\0\0true\x85R")),
        UnsupportedError,
        "a call of posix.system",
    ),
    "bad_pointer_names_torch": (two(metadata=spliced(b"ctorch\nload\n")), UnsupportedError, "the name torch.load"),
    "bad_pointer_opcode_pop": (two(metadata=spliced(b"N0N")), UnsupportedError, "the opcode POP"),
    "bad_pointer_opcode_persid": (two(metadata=spliced(b"NQ")), UnsupportedError, "the opcode BINPERSID"),
    "bad_pointer_memo_gap": (two(metadata=spliced(b"Nr\xff\xff\xff\xff")), CorruptError, "memo number 2^32 - 1"),
    "bad_pointer_memo_unknown": (two(metadata=spliced(b"j\xff\xff\0\0")), CorruptError, "a memo number never given"),
    "bad_pointer_size_called_as_class": (
        two(metadata=spliced(b"ctorch\nSize\n)\x81")),
        CorruptError,
        "an object of a function",
    ),
    "bad_pointer_class_called": (
        two(metadata=spliced(f"c{DCP}\nMetadata\n)R".encode())),
        CorruptError,
        "a call of a class",
    ),
    "bad_pointer_key_of_tuple": (
        two(metadata=with_field("planner_data", Pairs([((1,), 1)]))),
        CorruptError,
        "a key that is a tuple",
    ),
    "bad_pointer_key_twice": (
        two(metadata=with_field("planner_data", Pairs([("a", 1), ("a", 2)]))),
        CorruptError,
        "a key twice",
    ),
    "bad_pointer_object_without_fields": (
        two(metadata=with_field("storage_meta", made("StorageMeta", None))),
        CorruptError,
        "a StorageMeta without fields",
    ),
    "bad_pointer_fields_twice": (
        two(metadata=lambda fields: type(one := made("Metadata", fields))(one.cls, (fields, fields))),
        CorruptError,
        "fields for an object that has got them",
    ),
    "bad_pointer_unknown_field": (
        two(metadata=field_of("_StorageInfo", checksum="")),
        UnsupportedError,
        "a field checksum",
    ),
    "bad_pointer_private_field": (
        two(metadata=with_field("_hidden", 1)),
        CorruptError,
        "a field of Metadata that begins with _",
    ),
    "bad_pointer_offset_bool": (
        two(metadata=field_of("_StorageInfo", offset=False)),
        CorruptError,
        "an offset that is false",
    ),
    "bad_pointer_offset_negative": (two(metadata=field_of("_StorageInfo", offset=-1)), CorruptError, "an offset of -1"),
    "bad_pointer_end_overflow": (
        two(metadata=field_of("_StorageInfo", offset=(1 << 63) - 1)),
        CorruptError,
        "an end of 2^63 or more",
    ),
    "bad_pointer_file_above": (
        two(metadata=field_of("_StorageInfo", relative_path="../data")),
        CorruptError,
        "a file outside",
    ),
    "bad_pointer_file_is_pointer": (
        two(metadata=field_of("_StorageInfo", relative_path=".metadata")),
        CorruptError,
        "items in the pointer itself",
    ),
    "bad_pointer_descriptors": (
        two(metadata=field_of("_StorageInfo", transform_descriptors=PACK)),
        CorruptError,
        "descriptors that are a string",
    ),
    "bad_pointer_65_descriptors": (
        two(metadata=field_of("_StorageInfo", transform_descriptors=[PACK] * 65)),
        CorruptError,
        "65 descriptors",
    ),
    "bad_pointer_hint_negative": (two(metadata=field_of("MetadataIndex", index=-1)), CorruptError, "a hint of -1"),
    "bad_pointer_size_overflow": (shards(((0,), (4,)), shape=(1 << 61,)), CorruptError, "a tensor of 2^63 bytes"),
    "bad_pointer_255_dimensions": (shards(((0,) * 255, (1,) * 255), shape=(1,) * 255), CorruptError, "255 dimensions"),
    "bad_pointer_chunk_outside": (shards(((1,), (4,))), CorruptError, "a chunk that ends behind its tensor"),
    "bad_pointer_chunk_dimensions": (
        shards(((0, 0), (2, 2))),
        CorruptError,
        "a chunk of two dimensions in a tensor of one",
    ),
    "bad_pointer_chunks_overlap": (shards(((0,), (3,)), ((2,), (2,))), CorruptError, "chunks that share an element"),
    "bad_pointer_not_described": (
        two(items={"a": Tensor("float32", (2, 3)), "step": None}),
        CorruptError,
        "a place of an item that isn't described",
    ),
    "bad_pointer_offset_dimensions": (
        two(items={"a": Tensor("float32", (6,)), "b": Tensor("float32", (2, 3)), "step": None}),
        CorruptError,
        "a place at an offset of two dimensions in a tensor of one",
    ),
    "bad_pointer_properties": (
        two(items=two().items | {"a": Tensor("float32", (2, 3), properties=made("TensorProperties", (1, 2, 3, 4, 5)))}),
        CorruptError,
        "properties of numbers",
    ),
    "bad_pointer_seven_properties": (
        two(items=two().items | {"a": Tensor("float32", (2, 3), properties=properties("float32", (None, None)))}),
        UnsupportedError,
        "a seventh property",
    ),
    "bad_pointer_dtype": (
        two(items=two().items | {"a": Tensor("float3", (2, 3))}),
        UnsupportedError,
        "a dtype float3",
    ),
    "bad_pointer_deep_data": (two(metadata=with_field("mcore_data", nested(40))), LimitError, "lists within 40 lists"),
    "bad_pointer_other_data": (
        two(metadata=with_field("mcore_data", index("a", None))),
        CorruptError,
        "an object in plain data",
    ),
}
