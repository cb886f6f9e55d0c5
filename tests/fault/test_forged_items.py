"""Frames whose checksums are right but that cut a tensor in their own way, or lie about it: right, or a typed error."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from forge import Chunk, field, frame, header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.files import data_file, reseal
from tests.support.leaks import nothing_left
from tests.support.planners import Part, PartsPlanner, read
from tests.support.tensors import bits, blank, random_tensor
from torch.distributed.checkpoint import FileSystemReader

import dcpx
from dcpx import CorruptError, DcpxError
from dcpx.codecs.container import container
from dcpx.codecs.dtypes import CODES
from dcpx.varint import pack_varint

CHUNK_SIZE = 1 << 20

# An item of up to 1 MiB is read at once, of a larger one only the chunks needed.
SHAPES = {"small": (40, 60), "large": (500, 1300)}
TENSORS = {name: random_tensor(torch.float32, shape, 1) for name, shape in SHAPES.items()}
every_size = pytest.mark.parametrize("size", TENSORS)


def hint_field(dtype: str, shape: Sequence[int], offset: int) -> bytes:
    numbers = b"".join(map(pack_varint, (offset, *shape)))
    return field(0x02, bytes([CODES[dtype], len(shape)]) + numbers)


def head(hint: bytes) -> bytes:
    return header(hint + field(0x81, bytes([0, 1, 2, 3, 4])), chunk_size=CHUNK_SIZE)


def honest(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], int]:
    """The hint for `tensor` in dcpx's container."""
    shape = tuple(tensor.shape)
    return "float32", shape, len(container("float32", shape).before)


def pieces(tensor: torch.Tensor, *sizes: int) -> list[bytes]:
    """The elements' bytes in pieces of these sizes, then of the chunk size."""
    rest, found = bits(tensor), []
    for size in sizes:
        found.append(rest[:size])
        rest = rest[size:]
    return found + [rest[start : start + CHUNK_SIZE] for start in range(0, len(rest), CHUNK_SIZE)]


def part(shape: Sequence[int], parameter: int, dtype: str = "float32") -> Chunk:
    """The chunk before (1) or after (2) the elements of a tensor of this shape."""
    template = container(dtype, tuple(shape))
    return Chunk(template.before if parameter == 1 else template.after, template.arguments, 4, parameter)


def frame_with(tensor: torch.Tensor, elements: Sequence[bytes], hint: Any = None, **other: Any) -> bytes:
    """A frame of these elements between the container's two parts, which may be those of another tensor."""
    before = other.get("before", part(tensor.shape, 1))
    after = other.get("after", part(tensor.shape, 2))
    return frame([before, *(Chunk(piece) for piece in elements), after], head(hint_field(*(hint or honest(tensor)))))


def torchs(tensor: torch.Tensor) -> bytes:
    content = io.BytesIO()
    torch.save(tensor, content)
    return content.getvalue()


def cut(data: bytes, size: int = CHUNK_SIZE) -> list[Chunk]:
    return [Chunk(data[start : start + size]) for start in range(0, len(data), size)]


def whole(tensor: torch.Tensor) -> bytes:
    template = container("float32", tuple(tensor.shape))
    return template.before + bits(tensor) + template.after


def lying_hint(change: Callable[[str, tuple[int, ...], int], tuple[str, Sequence[int], int]]) -> Any:
    return lambda tensor: frame_with(tensor, pieces(tensor), change(*honest(tensor)))


# Frames that hold the tensor, by a way of their own: they must load.
GOOD: dict[str, Callable[[torch.Tensor], bytes]] = {
    "as dcpx writes it": lambda t: frame_with(t, pieces(t)),
    "chunks that end within an element": lambda t: frame_with(t, pieces(t, 4095, 3, 1001, 2)),
    "chunks of a few bytes": lambda t: frame_with(t, pieces(t, 1, 1, 1, 1, 2, 2, 3, 5, 7)),
    "one chunk for the last bytes": lambda t: frame_with(t, [bits(t)[:5000], *pieces(t)[0:0], *cut_at(bits(t)[5000:])]),
    "no hint": lambda t: frame([Chunk(raw) for raw in cut_at(whole(t))], head(b"")),
    "torch's container, an honest hint": lambda t: frame(
        cut(torchs(t)), head(hint_field("float32", t.shape, torchs(t).index(bits(t)[:64])))
    ),
    "torch's container, dcpx's hint": lambda t: frame(cut(torchs(t)), head(hint_field(*honest(t)))),
    "the container's parts stored as they are": lambda t: frame_with(
        t,
        pieces(t),
        before=Chunk(container("float32", tuple(t.shape)).before),
        after=Chunk(container("float32", tuple(t.shape)).after),
    ),
    "elements in the container's chunk": lambda t: frame(cut(whole(t)), head(hint_field(*honest(t)))),
    "elements in the container's last chunk": lambda t: frame(
        [part(t.shape, 1), *cut(bits(t) + container("float32", tuple(t.shape)).after)], head(hint_field(*honest(t)))
    ),
    "a payload said to begin one byte early": lying_hint(lambda d, s, o: (d, s, o - 1)),
    "a payload said to begin at 0": lying_hint(lambda d, s, o: (d, s, 0)),
    "a payload said to begin 64 bytes late": lying_hint(lambda d, s, o: (d, s, o + 64)),
}

# Frames that contradict the metadata or themselves.
BAD: dict[str, Callable[[torch.Tensor], bytes]] = {
    "a payload said to begin beyond the end": lying_hint(lambda d, s, o: (d, s, 1 << 40)),
    "another dtype": lying_hint(lambda d, s, o: ("int32", s, o)),
    "a narrower dtype": lying_hint(lambda d, s, o: ("bfloat16", s, o)),
    "another shape": lying_hint(lambda d, s, o: (d, (s[1], s[0]), o)),
    "fewer rows": lying_hint(lambda d, s, o: (d, (s[0] - 1, s[1]), o)),
    "another dimension": lying_hint(lambda d, s, o: (d, (1, *s), o)),
    "no dimensions": lying_hint(lambda d, s, o: (d, (), o)),
    "elements missing": lambda t: frame_with(t, [*pieces(t)[:-1], pieces(t)[-1][:-4]]),
    "elements too many": lambda t: frame_with(t, [*pieces(t), b"more"]),
    "nothing but the container": lambda t: frame_with(t, []),
    "the container of another dtype": lambda t: frame_with(
        t, pieces(t), before=part(t.shape, 1, "int32"), after=part(t.shape, 2, "int32")
    ),
    "the container of another shape": lambda t: frame_with(
        t, pieces(t), before=part(t.shape[::-1], 1), after=part(t.shape[::-1], 2)
    ),
    "the beginning twice": lambda t: frame_with(t, pieces(t), after=part(t.shape, 1)),
    "an unknown part of a container": lambda t: frame_with(
        t, pieces(t), before=Chunk(container("float32", tuple(t.shape)).before, part(t.shape, 1).payload, 4, 7)
    ),
    "a container of impossible arguments": lambda t: frame_with(
        t, pieces(t), before=Chunk(container("float32", tuple(t.shape)).before, bytes([18, 200]) + b"\xff" * 9, 4, 1)
    ),
    "no chunks": lambda t: frame([], head(hint_field(*honest(t)))),
    "an object": lambda t: frame(cut(torchs_object()), head(hint_field(*honest(t)))),
}


def cut_at(data: bytes) -> list[bytes]:
    return [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]


def torchs_object() -> bytes:
    content = io.BytesIO()
    torch.save({"not": "a tensor"}, content)
    return content.getvalue() + bytes(3 << 20)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of one tensor each, in whose place other frames are put."""
    root = tmp_path_factory.mktemp("saved")
    for size, tensor in TENSORS.items():
        dcpx.save({"x": tensor}, root / size, sync=False)
    return root


def put(stored: bytes, path: Path) -> None:
    """Make `stored` the only item of the checkpoint at `path`."""
    metadata = pickle.loads((path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.offset, info.length = 0, len(stored)
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    data_file(path).write_bytes(stored)
    reseal(path)


@pytest.fixture
def checkpoint(saved: Path, size: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved / size, tmp_path / "copy"))


def load(path: Path, target: torch.Tensor) -> torch.Tensor | DcpxError:
    with nothing_left():
        try:
            dcpx.load({"x": target}, path)
        except DcpxError as error:
            return error
    return target


def load_parts(path: Path, tensor: torch.Tensor) -> list[torch.Tensor | DcpxError]:
    """Whole, by rows, by columns, into another order, and into another dtype."""
    rows, columns = tensor.shape
    found: list[torch.Tensor | DcpxError] = [load(path, blank(tensor)), load(path, blank(tensor.t()).t())]
    found.append(load(path, torch.zeros(tensor.shape, dtype=torch.float64)))
    for offsets, sizes in (((3, 0), (rows - 7, columns)), ((0, 5), (rows, 9)), ((rows - 1, columns - 1), (1, 1))):
        target = torch.full(sizes, 9.0)
        try:
            read(path, PartsPlanner([Part("x", offsets, target)]))
        except DcpxError as error:
            found.append(error)
        else:
            view = tensor[offsets[0] : offsets[0] + sizes[0], offsets[1] : offsets[1] + sizes[1]]
            assert bits(target) == bits(view)
    return found


@every_size
@pytest.mark.parametrize("name", GOOD)
def test_another_frame_of_the_same_tensor(name: str, size: str, checkpoint: Path):
    tensor = TENSORS[size]
    put(GOOD[name](tensor), checkpoint)
    registry: Any = dcpx.default_registry()
    stock = {"x": blank(tensor)}
    dcp.load(stock, storage_reader=FileSystemReader(checkpoint, _extension_registry=registry))
    assert bits(stock["x"]) == bits(tensor), "the frame isn't what it should be"
    for found in load_parts(checkpoint, tensor):
        assert isinstance(found, torch.Tensor), found
        assert bits(found) == bits(tensor.to(found.dtype))


@every_size
@pytest.mark.parametrize("name", BAD)
def test_a_frame_that_lies(name: str, size: str, checkpoint: Path):
    tensor = TENSORS[size]
    put(BAD[name](tensor), checkpoint)
    for error in load_parts(checkpoint, tensor):
        assert isinstance(error, CorruptError), "it was believed"
        assert (error.where.file, error.where.item) == (str(data_file(checkpoint)), "x")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 3000), max_size=30),
    offset=st.just(0) | st.just(0) | st.integers(-20, 20),
    rows=st.tuples(st.integers(0, 39), st.integers(1, 40)),
    parts_apart=st.booleans(),
)
def test_any_chunks(
    sizes: list[int], offset: int, rows: tuple[int, int], parts_apart: bool, saved: Path, tmp_path: Path
):
    """Cut anywhere, with a hint that is a little wrong or right: always the right elements."""
    tensor = TENSORS["small"]
    path = Path(shutil.copytree(saved / "small", tmp_path / "copy", dirs_exist_ok=True))
    dtype, shape, begin = honest(tensor)
    if parts_apart:
        elements = [piece for piece in pieces(tensor, *sizes) if piece]
        put(frame_with(tensor, elements, (dtype, shape, begin + offset)), path)
    else:
        chunks, rest = [], whole(tensor)
        for size in sizes:
            chunks.append(Chunk(rest[:size]))
            rest = rest[size:]
        chunks = [chunk for chunk in [*chunks, Chunk(rest)] if chunk.raw]
        put(frame(chunks, head(hint_field(dtype, shape, begin + offset))), path)
    first, count = rows[0], min(rows[1], 40 - rows[0])
    target = torch.zeros(count, 60)
    read(path, PartsPlanner([Part("x", (first, 0), target)]))
    assert bits(target) == bits(tensor[first : first + count])
