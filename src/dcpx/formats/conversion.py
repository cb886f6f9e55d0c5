"""`dcpx.convert`: weights from one format to another, part by part, checked, and there at one moment."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from ..api import raising
from ..catalog.limits import Limits
from ..catalog.names import is_pointer
from ..errors import CorruptError, DcpxWarning, LoadError, NotFoundError, SaveError, TruncatedError, Where
from ..extension import StreamTransformExtension
from ..extensions.pack import Pack
from ..kernels import Xxh3_128
from ..loading.reader import Reader
from ..parallel import DEFAULT_BUDGET
from ..pickles.trust import SafeGlobal
from ..registry import ExtensionRegistry
from ..saving.writer import Writer
from ..store.address import StorageOptions, check_path, is_address, normal_path
from .checkpoints import CheckpointSource, save_weights
from .places import gone_if_empty, neighbours, new_directory, new_file
from .safetensors import INDEX, SafetensorsSource, header_of
from .torch_files import TorchSource, save_torch
from .weights import Cast, Names, Source, chosen, read_ahead

__all__ = ["Converted", "convert"]

Kind = Literal["dcpx", "dcp", "safetensors", "huggingface", "torch"]


@dataclass(frozen=True)
class Converted:
    """What a conversion has written: how many tensors of how many bytes, to which kind of place; and the names of what
    the format can't hold, which were left out because that was asked for."""

    kind: Kind
    tensors: int
    nbytes: int
    left_out: tuple[str, ...] = ()


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    to: Kind | None = None,
    names: Names | None = None,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    verify: bool = True,
    skip_objects: bool = False,
    max_shard_bytes: int = 5_000_000_000,
    pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    registry: ExtensionRegistry | None = None,
    safe_globals: Sequence[SafeGlobal] = (),
    trust: bool = False,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    storage_options: StorageOptions | None = None,
) -> Converted:
    """Convert the weights at `src` to `dst`, in this process alone, holding some 64 MiB of them at a time.

    `src` is a checkpoint of dcpx or stock DCP, local or at an address; a safetensors file; a directory of them with or
    without index, as Hugging Face lays out a model; or a file of `torch.save`. What it is is seen there. `dst` is one
    of `"dcpx"`, `"dcp"` (stock), `"safetensors"`, `"huggingface"` (a directory, a new file after `max_shard_bytes`) and
    `"torch"`, as `to` says; without it by the suffixes `.safetensors` and `.pt`, `.pth`, `.bin`, else dcpx.

    `names` gives tensors new names, by a table or a function (None leaves one out), and `dtype`, of 16 bits or more,
    casts what is floating point, with a DcpxWarning where that makes finite elements infinite. Other files of a model's
    directory, such as `config.json`, come along between directories. What is no tensor is refused where the format
    can't hold it, or left out with `skip_objects`. With `verify` the destination is read again before it is there, and
    compared bit for bit with what was read of the source. The other arguments are those of `save` and `load`;
    `storage_options` are for whichever of both is an address.

    The destination is there at one moment, whole; what is there already is replaced only with `overwrite`, and a
    directory of other files never. Raises NotFoundError, CorruptError, UnsupportedError or LoadError for the source,
    SaveError for the destination, ValueError or TypeError for wrong arguments; then nothing of the destination is left.
    """
    kind = to or _kind_by_suffix(dst)
    if kind not in get_args(Kind):
        raise ValueError(f"to must be one of {', '.join(get_args(Kind))}, not {to!r}")
    if kind not in ("dcpx",) and is_address(dst):
        raise ValueError("only a dcpx checkpoint can be converted to an address: write a local file and copy it")
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes must be at least 1, not {max_shard_bytes!r}")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1):
        raise ValueError(f"dtype must be a floating point dtype of torch's of 16 bits or more, not {dtype!r}")
    if not (names is None or callable(names) or isinstance(names, Mapping)):
        raise TypeError(f"names must be a table or a function, not {names!r:.100}")
    check_path(src)
    check_path(dst)
    source_place, place = (None if is_address(one) else Path(normal_path(one)) for one in (src, dst))
    if place is not None and place == place.parent:
        raise ValueError(f"dst must be the name of something new, not {str(dst)!r}")
    if source_place is not None and place is not None and source_place.resolve() == place.resolve():
        raise ValueError("src and dst are the same place")
    own: dict[str, Any] = {"threads": threads, "budget": budget}
    reading = {"registry": registry, "safe_globals": safe_globals, "trust": trust, "limits": limits, **own}

    def options(path: str | os.PathLike[str]) -> dict[str, Any]:
        return {"storage_options": storage_options} if is_address(path) else {}

    with raising(LoadError, alone=True), _opened(src, **reading, **options(src)) as source:
        wanted = chosen(source, names)
        objects = [old for old in source.objects if old in wanted]
        if kind in ("safetensors", "huggingface") and objects:
            if not skip_objects:
                remedy = "Pass skip_objects=True (--skip-objects) to leave out what is no tensor, or names= to choose"
                raise SaveError(f"{kind} holds tensors only", Where(source.place, objects[0]), remedy)
            wanted = {old: new for old, new in wanted.items() if old not in source.objects}
        digests, cast = _Digests(), Cast(dtype)

        def check(written: Source) -> None:
            if verify:
                _compare(digests, wanted, written)

        with raising(SaveError, alone=True), _quiet():
            if kind == "dcpx":
                writer = _CheckedWriter(
                    dst,
                    lambda: check(CheckpointSource(reader)),
                    pack=pack,
                    overwrite=overwrite,
                    user=source.user,
                    safe_globals=safe_globals,
                    **own,
                    **options(dst),
                )
                reader = writer.reader = Reader(dst, **reading, **options(dst))
                with gone_if_empty(place), neighbours(source_place, place, overwrite=overwrite):
                    save_weights(source, wanted, writer, cast, digests.add)
            else:
                assert place is not None
                _write_local(
                    source, wanted, kind, place, cast, digests, check, source_place, overwrite, max_shard_bytes
                )
        _warn_of_overflow(cast)
        tensors = [old for old in wanted if old in source.entries]
        left_out = tuple(objects) if kind in ("safetensors", "huggingface") else ()
        return Converted(kind, len(tensors), sum(cast.entry(source.entries[old]).nbytes for old in tensors), left_out)


def _write_local(
    source: Source,
    wanted: dict[str, str],
    kind: Kind,
    place: Path,
    cast: Cast,
    digests: _Digests,
    check: Callable[[Source], None],
    source_place: Path | None,
    overwrite: bool,
    max_shard_bytes: int,
) -> None:
    """What isn't dcpx's: written beside its place, read again, and moved there."""
    if kind == "torch":
        with new_file(place, overwrite) as file:
            save_torch(source, wanted, file, digests.add, cast)
            check(TorchSource(file, ours=True))
    elif kind == "safetensors":
        with new_file(place, overwrite) as file:
            _write_safetensors(source, wanted, list(wanted), file, cast, digests.add)
            check(SafetensorsSource(file))
    elif kind == "huggingface":
        with new_directory(place, overwrite) as folder, neighbours(source_place, folder, overwrite=overwrite):
            _write_directory(source, wanted, folder, cast, digests.add, max_shard_bytes)
            check(SafetensorsSource(folder))
    else:
        with new_directory(place, overwrite) as folder:
            save_weights(source, wanted, FileSystemWriter(folder), cast, digests.add)
            check(CheckpointSource(Reader(folder)))


class _CheckedWriter(Writer):
    """A writer whose checkpoint is read again, and compared, before it becomes one. `reader` reads it."""

    def __init__(self, path: str | os.PathLike[str], check: Callable[[], None], **options: Any) -> None:
        super().__init__(path, **options)
        self._check = check
        self.reader: Reader

    def look_before_commit(self, files: Mapping[str, bytes]) -> None:
        self.reader.know(files)
        self._check()


def _warn_of_overflow(cast: Cast) -> None:
    if names := list(cast.overflowed):
        text = (
            f"{len(names)} tensors have elements beyond what {cast.dtype} holds, now infinite, among them {names[0]!r}"
        )
        warnings.warn(text, DcpxWarning, stacklevel=3)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's word that no process group is there, which is so on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is")
        yield


# --- what a place is --------------------------------------------------------------------------------------------------


def _kind_by_suffix(path: str | os.PathLike[str]) -> Kind:
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        return "safetensors"
    return "torch" if suffix in (".pt", ".pth", ".bin") else "dcpx"


def _opened(path: str | os.PathLike[str], **options: Any) -> Source:
    """The source that lies there. NotFoundError where nothing does that can be one."""
    if is_address(path):
        return CheckpointSource(Reader(path, **options))
    place = Path(normal_path(path))
    if place.is_dir():
        if not any(map(is_pointer, os.listdir(place))) and any(place.glob("*.safetensors")):
            return SafetensorsSource(place)
        return CheckpointSource(Reader(place, **options))
    try:
        with open(place, "rb") as file:
            head = file.read(10)
    except OSError as error:
        raise NotFoundError(f"{type(error).__name__}: {error}", Where(str(place)), "Check the path") from error
    if head.startswith(b"PK\x03\x04"):
        return TorchSource(place)
    if place.suffix == ".safetensors" or head[8:9] == b"{":
        return SafetensorsSource(place)
    if place.suffix in (".pt", ".pth", ".bin") and not head:
        raise TruncatedError("the file is empty", Where(str(place)))
    remedy = "Convert a checkpoint's directory, a safetensors file or one of torch.save's zip files"
    raise LoadError("it is no format that is known here", Where(str(place)), remedy)


# --- safetensors ------------------------------------------------------------------------------------------------------


def _write_safetensors(
    source: Source,
    names: dict[str, str],
    olds: list[str],
    path: Path,
    cast: Cast,
    seen: Callable[[str, torch.Tensor], None],
) -> None:
    """One file with these tensors. Those of the widest dtype come first, as other readers want them aligned."""
    entries = {old: cast.entry(source.entries[old])._replace(name=names[old]) for old in olds}
    order = sorted(olds, key=lambda old: -entries[old].dtype.itemsize)
    header = header_of((entries[old] for old in order), source.note or {"format": "pt"})
    with open(path, "xb", buffering=0) as file:
        total = len(header) + sum(entry.nbytes for entry in entries.values())
        os.posix_fallocate(file.fileno(), 0, total)  # a disk without room is told before all the work
        file.write(header)
        for old, tensor in read_ahead(source, order):
            ready = cast.of(old, tensor)
            seen(old, ready)
            rest = memoryview(b"") if ready.numel() == 0 else ready.view(-1).view(torch.uint8).numpy().data
            while rest:
                rest = rest[file.write(rest) :]


def _write_directory(
    source: Source,
    names: dict[str, str],
    folder: Path,
    cast: Cast,
    seen: Callable[[str, torch.Tensor], None],
    most: int,
) -> None:
    """Files of at most `most` bytes, but for larger tensors, and the index that other tools expect of more than one."""
    shards: list[list[str]] = [[]]
    size = 0
    for old in names:
        nbytes = cast.entry(source.entries[old]).nbytes
        if shards[-1] and size + nbytes > most:
            shards.append([])
            size = 0
        shards[-1].append(old)
        size += nbytes
    table: dict[str, str] = {}
    for number, olds in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        _write_safetensors(source, names, olds, folder / name, cast, seen)
        table.update((names[old], name) for old in olds)
    if len(shards) > 1:
        total = sum(cast.entry(source.entries[old]).nbytes for old in names)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(table.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


# --- the check --------------------------------------------------------------------------------------------------------


class _Digests:
    """The XXH3-128 of each tensor's elements, added to part by part."""

    def __init__(self) -> None:
        self._hashers: dict[str, Xxh3_128] = {}

    def add(self, name: str, part: torch.Tensor) -> None:
        hasher = self._hashers.setdefault(name, Xxh3_128())
        if part.numel():
            hasher.update(part.contiguous().view(-1).view(torch.uint8).numpy().data)

    def found(self) -> dict[str, str]:
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}


def _compare(expected: _Digests, names: dict[str, str], written: Source) -> None:
    """Read what was written, all of it, and compare. CorruptError where it isn't what was read of the source."""
    with written:
        really = _Digests()
        for name, tensor in read_ahead(written, list(written.entries)):
            really.add(name, tensor)
        digests = {names[old]: digest for old, digest in expected.found().items()}
        found = really.found()
        if wrong := sorted(name for name in digests.keys() | found.keys() if digests.get(name) != found.get(name)):
            cause = f"what was written isn't what was read of the source (of {len(wrong)} tensors)"
            raise CorruptError(cause, Where(written.place, wrong[0]), "Convert again; if it stays, tell us")
