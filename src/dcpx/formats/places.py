"""Where a conversion writes to: files and directories that are there at one moment, whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..catalog.names import is_data_file, is_manifest, is_pointer, is_scaffold
from ..errors import SaveError, Where
from ..store.directory import exchange, move_to_new, sync_directory

__all__ = ["gone_if_empty", "is_weights", "neighbours", "new_directory", "new_file"]


@contextlib.contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end of the block, durable, or is gone with its error."""
    target = path.resolve()  # a link goes on leading to it
    special = target.exists() and not target.is_file()
    if special or (target.exists() and not overwrite):
        remedy = "Choose another path" if special else "Choose another path, or pass overwrite=True (--overwrite)"
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
def new_directory(path: Path, overwrite: bool) -> Iterator[Path]:
    """A directory beside `path` that takes its place at the end of the block, durable, or is gone with its error.

    With `overwrite` one that holds weights is replaced; what else is in it stays. SaveError for any other.
    """
    target = path.resolve()  # a link goes on leading to it
    there = sorted(target.iterdir()) if target.is_dir() else []
    if target.exists() and not target.is_dir():
        raise SaveError("it exists already, and is no directory", Where(str(path)), "Choose another path, or remove it")
    if there and not overwrite:
        remedy = "Choose another path, or pass overwrite=True (--overwrite)"
        raise SaveError("it exists already, and isn't empty", Where(str(path)), remedy)
    if there and not any(is_weights(one.name) for one in there):
        raise SaveError("it exists already, and holds no weights", Where(str(path)), "Choose another path")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4()}")
    try:
        temporary.mkdir()
        yield temporary
        for one in there:
            if not is_weights(one.name) and not (temporary / one.name).exists():
                if one.is_dir() and not one.is_symlink():
                    shutil.copytree(one, temporary / one.name, symlinks=True)
                else:
                    shutil.copy2(one, temporary / one.name, follow_symlinks=False)
        for file in temporary.iterdir():
            if file.is_file():
                _sync(file)
        sync_directory(temporary)
        if there:
            exchange(str(temporary), str(target))
        else:
            os.rename(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        raise SaveError(f"{type(error).__name__}: {error}", Where(str(path))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # which is the old one, once they were exchanged


@contextlib.contextmanager
def neighbours(src: Path | None, dst: Path | None, *, overwrite: bool) -> Iterator[None]:
    """The files beside a model's weights are copied along, and are there once the block has ended well; those that are
    there already are replaced with `overwrite` only. None stands for what is no local directory."""
    if src is None or dst is None or not src.is_dir():
        yield
        return
    copied: list[tuple[Path, Path]] = []
    made = not dst.exists()
    try:
        for file in sorted(src.iterdir()):
            target = dst / file.name
            if file.is_file() and not is_weights(file.name) and (overwrite or not target.exists()):
                dst.mkdir(parents=True, exist_ok=True)
                temporary = dst / f".{uuid.uuid4()}"
                copied.append((temporary, target))
                shutil.copyfile(file, temporary)
        yield
        for temporary, target in copied:
            os.replace(temporary, target)
    except BaseException:
        for temporary, _ in copied:
            temporary.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                dst.rmdir()
        raise


@contextlib.contextmanager
def gone_if_empty(path: Path | None) -> Iterator[None]:
    """A local directory that an error of the block has left empty goes again, unless it was there before."""
    there = path is None or path.exists()
    try:
        yield
    except BaseException:
        if not there and path is not None:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def is_weights(name: str) -> bool:
    """Whether a file of this name holds weights, or says where they are, in a format that is converted from."""
    ours = is_pointer(name) or is_data_file(name) or is_manifest(name) or is_scaffold(name)
    return ours or name.endswith((".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth"))


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
