"""A tensor's container: whether torch may load it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import IO, NamedTuple, TypeAlias

from ..errors import LimitError, UnsupportedError
from .archive import PICKLE, Archive, open_archive
from .constants import ITEM_SIZES
from .things import TENSOR, Tensor
from .torch_pickle import check_names, foresee
from .trust import SafeGlobal, Trust, by_name, of_process

__all__ = ["Located", "check_archive", "check_container", "check_pickle", "locate_elements"]

_MOST_PICKLE = 256 << 10
"""Bytes of a tensor's pickle. What isn't elements is a few hundred, or a few thousand of a class with more of them."""

_ALLOW = (
    "Load it into a tensor of the class that was saved; or, if you trust where the checkpoint comes from, pass "
    "safe_globals=[...] with these, or trust=True"
)
_NOT_STORED = "Store what it is made of as tensors of their own"


Described: TypeAlias = Callable[[str, tuple[int, ...]], None]
"""Called with the dtype, such as "bfloat16", and the shape of a stored tensor, to refuse any other than the one that
the metadata describes."""


def check_container(
    content: IO[bytes],
    trust: Trust = Trust(),  # noqa: B008 (immutable)
    classes: Iterable[type] = (),
    described: Described | None = None,
) -> None:
    """Refuse a tensor's container that torch must not load; of the elements nothing is read.

    What it may name is said at `check_pickle`. Raises CorruptError for what torch.save doesn't write, UnsupportedError.
    """
    check_archive(open_archive(content), trust, classes, described)


class Located(NamedTuple):
    """Where a tensor's elements lie in its container: element (i, j, ...) at byte `begin` + `itemsize` * (i * stride[0]
    + j * stride[1] + ...)."""

    begin: int
    stride: tuple[int, ...]


def locate_elements(content: IO[bytes], described: Described) -> Located:
    """Where the elements of a tensor's container lie, for whoever reads them without torch; none of them is read.

    Raises CorruptError for what torch.save doesn't write, UnsupportedError for a tensor that is more than its elements,
    such as a quantized one, one of a class, or a view that torch would conjugate.
    """
    archive = open_archive(content)
    if archive.size(PICKLE) > _MOST_PICKLE:
        raise UnsupportedError("the tensor is more than its elements", remedy=_LOAD)
    check_pickle(archive.read(PICKLE, _MOST_PICKLE), archive, (), (), described)
    made = foresee(archive.read(PICKLE, _MOST_PICKLE), archive).made
    if type(made) is not Tensor or made.marks or made.dtype.startswith("q"):
        raise UnsupportedError("the tensor is more than its elements", remedy=_LOAD)
    if archive.size(_ORDER) >= 0 and archive.read(_ORDER, 16) != b"little":
        raise UnsupportedError("the tensor was saved on a machine of another byte order", remedy=_LOAD)
    return Located(archive.records[made.storage.record][0] + made.offset * ITEM_SIZES[made.dtype], made.stride)


_ORDER = "byteorder"
_LOAD = "Load it with torch"


def check_archive(
    archive: Archive, trust: Trust, classes: Iterable[type], described: Described | None = None
) -> dict[str, object]:
    """What of `trust` and `classes` torch must be told of, by name, to load the archive's tensor."""
    if trust.all:
        return {}
    if archive.size(PICKLE) > _MOST_PICKLE:
        cause = f"the tensor's pickle has {archive.size(PICKLE)} bytes, more than {_MOST_PICKLE}"
        raise UnsupportedError(cause, remedy="Store what isn't elements as an object of its own")
    return check_pickle(archive.read(PICKLE, _MOST_PICKLE), archive, trust.safe_globals, classes, described)


def check_pickle(
    pickled: bytes,
    archive: Archive,
    safe_globals: Sequence[SafeGlobal],
    classes: Iterable[type],
    described: Described | None = None,
) -> dict[str, object]:
    """Refuse a tensor's pickle that torch must not load; returns what torch must be told of to load it, by name.

    It may name what was given to `torch.serialization.add_safe_globals`, but for what torch itself put there (DCP
    stores none of that), `safe_globals`, and `classes`, those of the tensors that it is loaded into: their code runs
    in any case when they are filled, and they are made of nothing but what else is allowed.
    """
    try:
        found = foresee(pickled, archive)
    except LimitError as error:
        raise UnsupportedError(f"{error.cause}, which no tensor needs", remedy=_NOT_STORED) from None
    given: dict[str, object] = {}
    if found.names:
        known = of_process()
        known = {name: value for name, value in known.items() if not name.startswith("torch.")}
        given = by_name([*classes, *safe_globals])
        check_names(found, "the tensor", known | given, _ALLOW)
        given = {name: given[name] for name in found.names if name not in known}
    made = found.made
    if found.sparse:
        raise UnsupportedError("a sparse tensor can't be loaded", remedy="Store its indices and values, or to_dense()")
    if type(made) is not Tensor and made is not TENSOR:
        raise UnsupportedError("what is stored is no tensor that can be loaded", remedy=_NOT_STORED)
    if type(made) is Tensor and made.shares:
        cause = f"the tensor has {made.nbytes} bytes, of which {made.storage.nbytes} are stored"
        raise UnsupportedError(cause, remedy="Store a copy of it, whose elements share nothing")
    if type(made) is Tensor and described is not None:
        described(made.dtype, made.shape)
    return given
