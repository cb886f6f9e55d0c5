"""The golden checkpoints: tiny ones of every form, and what those with one thing wrong are made from."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import zstandard
from contents import Lcg, bf16
from drafts import (
    PACK,
    Draft,
    Part,
    Tensor,
    copy_of,
    made,
    object_bytes,
    packed_object,
    packed_tensor,
    properties,
    size,
    torch_tensor,
)
from forge import Chunk, frame
from pickled import Call, Global

OTHER = "0b1e55ed-0000-4000-8000-00000000beef"
ZSTD = "stream.zstd/1"
SHARDED = "torch.distributed._shard.sharded_tensor.metadata"


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def numbers(form: str, count: int) -> bytes:
    return struct.pack(f"<{count}{form}", *range(count))


WEIGHT, SMALL = bf16(3000, 1), numbers("f", 6)
OBJECT = object_bytes(7)


def packed(name: str, dtype: str, shape: tuple[int, ...], elements: bytes, **wrong: Any) -> Part:
    return Part(
        name, (0,) * len(shape), packed_tensor(name, (0,) * len(shape), dtype, shape, elements, **wrong), [PACK]
    )


def two(**changes: Any) -> Draft:
    """Two tensors and an object, as dcpx writes them, with something changed."""
    draft = Draft(
        {"a": Tensor("float32", (2, 3)), "b": Tensor("float32", (2, 3)), "step": None},
        [
            packed("a", "float32", (2, 3), SMALL),
            packed("b", "float32", (2, 3), SMALL[::-1]),
            Part("step", None, packed_object("step", OBJECT), [PACK]),
        ],
    )
    return replace(draft, **changes)


def plain(part: Part, data: bytes, descriptors: list[str] | None = None) -> Part:
    return Part(part.fqn, part.offset, data, descriptors, part.file)


# --- good -------------------------------------------------------------------------------------------------------------

FLOATS = torch_tensor("float32", "Float", 6, SMALL, (0, (2, 3), (3, 1)))
PARTS = struct.pack("<4f", 1.0, -2.0, 0.5, 0.0)


def _packed() -> Draft:
    items: dict[str, Tensor | None] = {
        "weight": Tensor("bfloat16", (60, 50)),
        "small": Tensor("float32", (2, 3)),
        "scalar": Tensor("float64", ()),
        "empty": Tensor("int32", (3, 0, 5)),
        "eight bits": Tensor("float8_e5m2", (7,)),
        "no fields": Tensor("float32", (2, 3)),
        "": Tensor("bool", (2,)),
        "слой ☃ \ud83d": Tensor("uint64", (1,)),
        "step": None,
    }
    return Draft(
        items,
        [
            packed("weight", "bfloat16", (60, 50), WEIGHT),
            packed("small", "float32", (2, 3), SMALL),
            packed("scalar", "float64", (), struct.pack("<d", 2.5)),
            packed("empty", "int32", (3, 0, 5), b""),
            packed("eight bits", "float8_e5m2", (7,), Lcg(2).bytes(7)),
            Part("no fields", (0, 0), frame([Chunk(FLOATS)]), [PACK]),
            packed("", "bool", (2,), b"\1\0"),
            packed("слой ☃ \ud83d", "uint64", (1,), b"\xff" * 8),
            Part("step", None, packed_object("step", OBJECT), [PACK]),
        ],
    )


def _sharded() -> Draft:
    """A tensor cut unevenly along both dimensions into two files; with a rank that got nothing, and one that was saved
    twice over."""
    rows = [(0, 3), (3, 2)], [(0, 4), (4, 3)]
    grid = [((r, c), (height, width)) for r, height in rows[0] for c, width in rows[1]]
    whole = [[10 * r + c for c in range(7)] for r in range(5)]

    def elements(begin: tuple[int, ...], sizes: tuple[int, ...]) -> bytes:
        lines = [row[begin[1] : begin[1] + sizes[1]] for row in whole[begin[0] : begin[0] + sizes[0]]]
        return b"".join(struct.pack(f"<{sizes[1]}h", *line) for line in lines)

    parts = [
        Part("grid", begin, packed_tensor("grid", begin, "int16", sizes, elements(begin, sizes)), [PACK], number % 2)
        for number, (begin, sizes) in enumerate(grid)
    ]
    nothing, row = ((5,), (0,)), ((0,), (5,))
    parts.append(Part("row", (0,), packed_tensor("row", (0,), "uint8", (5,), b"hello"), [PACK]))
    parts.append(Part("row", (5,), packed_tensor("row", (5,), "uint8", (0,), b""), [PACK], 1))
    return Draft({"grid": Tensor("int16", (5, 7), grid), "row": Tensor("uint8", (5,), [row, row, nothing])}, parts)


def copies(described: Tensor | None = None, **wrong: Any) -> Draft:
    """Two equal tensors at one place, and an object."""
    draft = two()
    first, _, last = draft.parts
    items: dict[str, Tensor | None] = {"a": draft.items["a"], "b": described or draft.items["b"], "step": None}
    return replace(draft, items=items, parts=[first, copy_of(first, "b", **wrong), last])


def _copies() -> Draft:
    draft = copies()
    halves = [((0, 0), (2, 3)), ((2, 0), (2, 3))]
    first = draft.parts[0]
    parts = [copy_of(first, "halves"), replace(copy_of(first, "halves"), offset=(2, 0))]
    return replace(draft, items=draft.items | {"halves": Tensor("float32", (4, 3), halves)}, parts=draft.parts + parts)


def _torch() -> Draft:
    """Plain containers of every form, as stock DCP stores them."""
    of = {
        "plain": (Tensor("float32", (2, 3)), FLOATS),
        "transposed": (Tensor("float32", (3, 2)), torch_tensor("float32", "Float", 6, SMALL, (0, (3, 2), (1, 3)))),
        "within": (
            Tensor("int64", (2, 2)),
            torch_tensor("int64", "Long", 20, numbers("q", 20), (3, (2, 2), (5, 2)), root="any name"),
        ),
        "bytes": (Tensor("uint16", (4,)), torch_tensor("uint16", None, 8, numbers("H", 4), (0, (4,), (1,)))),
        "bytes within": (Tensor("uint32", (2,)), torch_tensor("uint32", None, 16, numbers("I", 4), (1, (2,), (2,)))),
        "conjugated": (
            Tensor("complex64", (2,)),
            torch_tensor("complex64", "ComplexFloat", 2, PARTS, (0, (2,), (1,)), {"conj": True}),
        ),
        "negated": (
            Tensor("float32", (2, 2)),
            torch_tensor("float32", "Float", 4, PARTS, (0, (2, 2), (2, 1)), {"neg": True}),
        ),
        "both": (
            Tensor("complex64", (2,)),
            torch_tensor("complex64", "ComplexFloat", 2, PARTS, (0, (2,), (1,)), {"conj": True, "neg": True}),
        ),
        "half an element": (
            Tensor("complex64", (1,)),
            torch_tensor("complex64", "ComplexFloat", 1, PARTS[:12], (0, (1,), (1,))),
        ),
        "no checksums": (
            Tensor("float32", (2, 3)),
            torch_tensor("float32", "Float", 6, SMALL, (0, (2, 3), (3, 1)), crc=False),
        ),
        "empty": (Tensor("float16", (0, 4)), torch_tensor("float16", "Half", 0, b"", (0, (0, 4), (4, 1)))),
        "scalar": (Tensor("bool", ()), torch_tensor("bool", "Bool", 1, b"\1", (0, (), ()))),
    }
    parts = [Part(name, (0,) * len(item.shape), data) for name, (item, data) in of.items()]
    items: dict[str, Tensor | None] = {name: item for name, (item, _) in of.items()}
    return Draft(items | {"step": None}, [*parts, Part("step", None, OBJECT)], manifest=False)


def _transformed() -> Draft:
    frame_of_a = packed("a", "float32", (2, 3), SMALL)
    chain = f"stream.chain@dcpx/1:{PACK},{ZSTD}"
    names = ["zstd", "list", "chain", "chain of one", "plain"]
    forms = [
        (zstd(FLOATS), [ZSTD]),
        (zstd(frame([Chunk(FLOATS)])), [PACK, ZSTD]),
        (zstd(frame([Chunk(FLOATS)])), [chain]),
        (frame([Chunk(FLOATS)]), [f"stream.chain@dcpx/1:{PACK}"]),
        (FLOATS, None),
    ]
    parts = [Part(name, (0, 0), *form) for name, form in zip(names, forms, strict=True)]
    items: dict[str, Tensor | None] = dict.fromkeys(["a", *names], Tensor("float32", (2, 3)))
    return Draft(items | {"step": None}, [frame_of_a, *parts, Part("step", None, zstd(OBJECT), [ZSTD])])


def _old() -> Draft:
    """As torch's releases before 2.3 wrote it, in protocol 2: other modules, fewer fields."""
    by_name = Call(
        Global("__builtin__", "getattr"), (Global(SHARDED, "MEM_FORMAT_ENCODING"), "TORCH_CONTIGUOUS_FORMAT")
    )
    layout = Call(Global("torch.serialization", "_get_layout"), ("torch.strided",))
    old = made("TensorProperties", (Global("torch", "float32"), layout, False, by_name, False), SHARDED)

    def metadata(fields: dict[str, Any]) -> Any:
        path = Call(Global("pathlib", "PosixPath"), ("/", "somewhere", "old"))
        meta = made("StorageMeta", {"checkpoint_id": path})
        kept = {name: fields[name] for name in ("state_dict_metadata", "planner_data", "storage_data")}
        return made("Metadata", kept | {"storage_meta": meta})

    return Draft(
        {"a": Tensor("float32", (2, 3), properties=old)},
        [Part("a", (0, 0), FLOATS)],
        protocol=2,
        manifest=False,
        metadata=metadata,
    )


def _later() -> Draft:
    """Torch's strides, fields of others in the metadata, members that aren't known in the manifest."""
    strided = properties("float32", ((1, 2),))

    def metadata(fields: dict[str, Any]) -> Any:
        others = {"mcore_data": {"sharded": [1, 2.5, None, True, size(3, 4), Global("torch", "float16")]}}
        return made("Metadata", fields | others)

    return two(
        items={"a": Tensor("float32", (2, 3), properties=strided), "b": Tensor("float32", (2, 3)), "step": None},
        metadata=metadata,
        members=lambda members: members.update(later={"anything": [1]}, pointer=None),
        protocol=5,
    )


# name: (draft, a phrase of what it is)
GOOD_CHECKPOINTS: dict[str, tuple[Draft, str]] = {
    "packed": (_packed(), "frames of many dtypes and shapes, and an object"),
    "sharded": (_sharded(), "a grid of four parts in two files, a part listed twice, a part without elements"),
    "torch": (_torch(), "torch's own containers, and no manifest"),
    "transformed": (_transformed(), "lists and chains of transforms, and plain items"),
    "old": (_old(), "a pointer of protocol 2, as older torch wrote it"),
    "later": (_later(), "fields and members of later or other writers"),
    "copies": (_copies(), "equal tensors at one place, the frame the first one's, and a part of another"),
    "rank": (two(pointer="__0.metadata"), "the checkpoint of rank 0 that was saved by itself"),
}
