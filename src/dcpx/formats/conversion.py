"""`dcpx.convert`: weights from one format to another, part by part, checked, and there at one moment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from ..api import raising
from ..catalog.limits import Limits
from ..catalog.names import METADATA, is_data_file, is_manifest, is_pointer, is_scaffold
from ..errors import CorruptError, LoadError, NotFoundError, SaveError, Where
from ..extension import StreamTransformExtension
from ..extensions.pack import Pack
from ..kernels import Xxh3_128
from ..loading.reader import Reader
from ..parallel import DEFAULT_BUDGET
from ..pickles.trust import SafeGlobal
from ..registry import ExtensionRegistry
from ..saving.writer import Writer
from ..store.address import StorageOptions, is_address, normal_path
from ..store.directory import move_to_new, sync_directory
from .checkpoints import CheckpointSource, save_weights
from .safetensors import INDEX, SafetensorsSource, header_of
from .torch_files import TorchSource, save_torch
from .weights import Names, Source, chosen, read_ahead

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

    `names` gives tensors new names, by a table or a function (None leaves one out), and `dtype` casts what is floating
    point. Other files of a model's directory, such as `config.json`, come along between directories. What is no tensor
    is refused where the format can't hold it, or left out with `skip_objects`. With `verify` the destination is read
    again, and compared bit for bit with what was read of the source. The other arguments are those of `save` and
    `load`; `storage_options` are for whichever of both is an address.

    The destination is there at one moment, whole; what is there already is replaced only with `overwrite`, and a
    directory of other files never. Raises NotFoundError, CorruptError, UnsupportedError or LoadError for the source,
    SaveError for the destination, ValueError for wrong arguments; then nothing of the destination is left.
    """
    kind = to or _kind_by_suffix(dst)
    if kind not in get_args(Kind):
        raise ValueError(f"to must be one of {', '.join(get_args(Kind))}, not {to!r}")
    if kind not in ("dcpx",) and is_address(dst):
        raise ValueError("only a dcpx checkpoint can be converted to an address: write a local file and copy it")
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes must be at least 1, not {max_shard_bytes!r}")
    if not is_address(src) and not is_address(dst) and os.path.realpath(src) == os.path.realpath(dst):
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
                remedy = "Pass skip_objects=True to leave out what is no tensor, or names= to choose"
                raise SaveError(f"{kind} holds tensors only", Where(source.place, objects[0]), remedy)
            wanted = {old: new for old, new in wanted.items() if old not in source.objects}
        digests = _Digests()
        with raising(SaveError, alone=True):
            match kind:
                case "dcpx":
                    user = {"safetensors": source.note} if source.note else None
                    writer = Writer(
                        dst, pack=pack, overwrite=overwrite, user=user, safe_globals=safe_globals, **own, **options(dst)
                    )
                    with _neighbours(src, dst):
                        save_weights(source, wanted, writer, dtype, digests.add)
                        if verify:
                            _check(digests, wanted, dst, {**reading, **options(dst)})
                case "dcp":
                    with _new_directory(dst) as folder:
                        save_weights(source, wanted, FileSystemWriter(folder), dtype, digests.add)
                        if verify:
                            _check(digests, wanted, folder, reading)
                case "torch":
                    with _new_file(dst, overwrite) as file:
                        save_torch(source, wanted, file, digests.add, dtype)
                        if verify:
                            _check(digests, wanted, file, reading)
                case "safetensors":
                    with _new_file(dst, overwrite) as file:
                        _write_safetensors(source, wanted, list(wanted), file, dtype, digests.add)
                        if verify:
                            _check(digests, wanted, file, reading)
                case "huggingface":
                    with _new_directory(dst) as folder, _neighbours(src, folder):
                        _write_directory(source, wanted, folder, dtype, digests.add, max_shard_bytes)
                        if verify:
                            _check(digests, wanted, folder, reading)
        tensors = [old for old in wanted if old in source.entries]
        left_out = tuple(objects) if kind in ("safetensors", "huggingface") else ()
        return Converted(kind, len(tensors), sum(source.entries[old].nbytes for old in tensors), left_out)


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
        if not (place / METADATA).exists() and ((place / INDEX).exists() or (place / "model.safetensors").exists()):
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
    remedy = "Convert a checkpoint's directory, a safetensors file or one of torch.save's zip files"
    raise LoadError("it is no format that is known here", Where(str(place)), remedy)


# --- there at one moment ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _new_file(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end of the block, durable, or is gone with its error."""
    target = Path(path)
    if target.is_dir() or (target.exists() and not overwrite):
        remedy = "Choose another path" if target.is_dir() else "Choose another path, or pass overwrite=True"
        raise SaveError("it exists already", Where(str(target)), remedy)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: it says what the file is to whoever reads it again.
    temporary = target.with_name(f".{uuid.uuid4()}{target.suffix}")
    try:
        yield temporary
        _sync(temporary)
        if overwrite:
            os.rename(temporary, target)
        else:
            move_to_new(str(temporary), str(target))
        sync_directory(target.parent)
    except OSError as error:
        raise SaveError(f"{type(error).__name__}: {error}", Where(str(target))) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _new_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A directory beside `path` that takes its place at the end of the block, durable, or is gone with its error."""
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SaveError("it exists already, and isn't empty", Where(str(target)), "Choose another path, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4()}")
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        sync_directory(temporary)
        os.rename(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        raise SaveError(f"{type(error).__name__}: {error}", Where(str(target))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _neighbours(src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> Iterator[None]:
    """The files beside a model's weights are copied along, and removed again after an error of the block."""
    if is_address(src) or is_address(dst) or not Path(src).is_dir():
        yield
        return
    copied: list[Path] = []
    try:
        for file in sorted(Path(src).iterdir()):
            target = Path(dst) / file.name
            if file.is_file() and not _is_weights(file.name) and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                copied.append(target)
                shutil.copyfile(file, target)
        yield
    except BaseException:
        for target in copied:
            target.unlink(missing_ok=True)
        raise


def _is_weights(name: str) -> bool:
    ours = is_pointer(name) or is_data_file(name) or is_manifest(name) or is_scaffold(name)
    return ours or name.endswith((".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth"))


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- safetensors ------------------------------------------------------------------------------------------------------


def _write_safetensors(
    source: Source,
    names: dict[str, str],
    olds: list[str],
    path: Path,
    cast: torch.dtype | None,
    seen: Callable[[str, torch.Tensor], None],
) -> None:
    """One file with these tensors. Those of the widest dtype come first, as other readers want them aligned."""
    entries = {old: source.entries[old].cast(cast)._replace(name=names[old]) for old in olds}
    order = sorted(olds, key=lambda old: -entries[old].dtype.itemsize)
    header = header_of((entries[old] for old in order), source.note or {"format": "pt"})
    with open(path, "xb", buffering=0) as file:
        total = len(header) + sum(entry.nbytes for entry in entries.values())
        os.posix_fallocate(file.fileno(), 0, total)  # a disk without room is told before all the work
        file.write(header)
        for old, tensor in read_ahead(source, order):
            ready = tensor.to(entries[old].dtype)
            seen(old, ready)
            rest = memoryview(b"") if ready.numel() == 0 else ready.view(-1).view(torch.uint8).numpy().data
            while rest:
                rest = rest[file.write(rest) :]


def _write_directory(
    source: Source,
    names: dict[str, str],
    folder: Path,
    cast: torch.dtype | None,
    seen: Callable[[str, torch.Tensor], None],
    most: int,
) -> None:
    """Files of at most `most` bytes, but for larger tensors, and the index that other tools expect of more than one."""
    shards: list[list[str]] = [[]]
    size = 0
    for old in names:
        nbytes = source.entries[old].cast(cast).nbytes
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
        total = sum(source.entries[old].cast(cast).nbytes for old in names)
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


def _check(expected: _Digests, names: dict[str, str], path: str | os.PathLike[str], options: dict[str, Any]) -> None:
    """Read what was written, all of it, and compare. CorruptError where it isn't what was read of the source."""
    with _opened(path, **options) as written:
        really = _Digests()
        for name, tensor in read_ahead(written, list(written.entries)):
            really.add(name, tensor)
        digests = {names[old]: digest for old, digest in expected.found().items()}
        found = really.found()
        if wrong := sorted(name for name in digests.keys() | found.keys() if digests.get(name) != found.get(name)):
            cause = f"what was written isn't what was read of the source (of {len(wrong)} tensors)"
            raise CorruptError(cause, Where(written.place, wrong[0]), "Convert again; if it stays, tell us")
