"""`diff`: what has changed from one checkpoint to another."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..catalog.limits import Limits
from ..errors import DcpxError
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import OnProgress, telling
from ..store.address import StorageOptions
from .comparing import Compared, Entry, Key, compare, entries
from .elements import Elements, StoredTensor
from .moments import finite
from .numbers import is_numeric
from .opened import Opened, check_current, open_checkpoint
from .selection import matching
from .tables import Table, shape_text

__all__ = ["Change", "Difference", "ElementDifference", "ItemDifference", "diff"]

SCHEMA = "dcpx.diff/1"
"""The version of what `Difference.to_json` returns: a new member doesn't change it, a changed or lost one does."""

Change: TypeAlias = Literal["added", "removed", "reshaped", "recast", "changed", "same", "unreadable"]

_CHANGES: tuple[Change, ...] = ("added", "removed", "reshaped", "recast", "changed", "unreadable", "same")


@dataclass(frozen=True, slots=True)
class ElementDifference:
    """How the `count` elements of a tensor differ between a and b.

    `changed` of them have other bits or, where the dtypes differ, stand for another number. The difference of any other
    is 0, and that of a changed one counts where both are finite. `maximum` and `mean` are of the absolute differences;
    `norm` is the root of the sum of their squares. They are None for dtypes that are no numbers, and where they are
    beyond float64; of complex elements the magnitude of the difference is taken.

    Chunks whose content is proven equal aren't read: `compared` elements were. `relative`, the norm as a share of the
    norm of a's elements, and `nans` and `infinities`, the counts in a and in b, are of these: what isn't read adds
    nothing to the difference, and the same number of NaNs and infinities to both. `relative` is None if a's norm is 0.
    """

    count: int
    compared: int
    changed: int
    maximum: float | None
    mean: float | None
    norm: float | None
    relative: float | None
    nans: tuple[int, int]
    infinities: tuple[int, int]

    @property
    def share(self) -> float:
        """The changed elements as a share of all, from 0 to 1."""
        return self.changed / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class ItemDifference:
    """What has become of one item. `own_rank` is the rank whose own checkpoint it is in, where each has one.

    `change` is "added" where only b has it and "removed" where only a does; "reshaped" if the shapes of its tensors
    differ; "recast" if only the dtypes do, or if it is a tensor in one and an object in the other; "changed" or "same"
    by its content; and "unreadable" if that couldn't be read, of which `error` says why.

    `dtypes` and `shapes` are a's and b's: None for an object, and where it isn't. `elements` says how those of a
    changed or recast tensor differ; None for any other item, and for a tensor that is more than its elements.
    """

    name: str
    own_rank: int | None
    change: Change
    dtypes: tuple[str | None, str | None]
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    elements: ElementDifference | None = None
    error: DcpxError | None = None


@dataclass(frozen=True)
class Difference:
    """What has changed from the checkpoint at `a` to that at `b`: its items in a's order, then those that only b has.

    `same_save` says that both are one save, or copies of it, so that nothing was compared. So many items as `unread`
    says are the same by the hashes that were saved with them: nothing of them was read, and it may be damaged.
    """

    a: str
    b: str
    items: list[ItemDifference]
    same_save: bool = False
    unread: int = 0

    @property
    def is_same(self) -> bool:
        """Whether every item is the same in both."""
        return all(item.change == "same" for item in self.items)

    @property
    def in_common(self) -> int:
        """How many items both have; 0 for checkpoints of different models."""
        return sum(item.change not in ("added", "removed") for item in self.items)

    @property
    def counts(self) -> dict[Change, int]:
        """How many items there are of each change, 0 included."""
        found = Counter(item.change for item in self.items)
        return {change: found[change] for change in _CHANGES}

    @property
    def errors(self) -> list[DcpxError]:
        """Why items couldn't be compared."""
        return [item.error for item in self.items if item.error is not None]

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {change}" for change, count in self.counts.items() if count) or "no items"
        if self.unread:
            told += f", of which {self.unread:,} by the hashes that were saved, and not read"
        apart = "; they have no names in common" if self.items and not self.in_common else ""
        return f"{self.a} and {self.b}: {told}{apart}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: the schema's version, and the attributes by their names; an error is a text."""
        return {
            "schema": SCHEMA,
            "a": self.a,
            "b": self.b,
            "same_save": self.same_save,
            "unread": self.unread,
            "is_same": self.is_same,
            "in_common": self.in_common,
            "counts": self.counts,
            "items": [_item_to_json(item) for item in self.items],
        }

    def table(self) -> Table:
        """A row for each item that isn't the same, which a notebook shows."""
        columns = ("item", "change", "dtype", "shape", "changed", "max", "mean", "relative", "nan", "inf", "error")
        return Table(columns, [_row(item) for item in self.items if item.change != "same"])

    def _repr_html_(self) -> str:
        return self.table().to_html()


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    pattern: str = "*",
    *,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> Difference:
    """What has changed from the checkpoint at `a` to that at `b`, of the items whose names match the glob `pattern`, in
    which * stands for any characters.

    Needs no torch and runs nothing. Items are the same by their names, and where each rank has a checkpoint of its own
    by their ranks. An object is compared by its bytes, and so is a tensor that is more than its elements, such as a
    quantized one. How a tensor is cut into parts makes no difference.

    What is proven to be equal isn't read, so that damage to it isn't noticed: all of a checkpoint if both are the same
    save, items whose frames or manifests have the same hash of their content, and equal chunks of the others. What is
    read is verified. `threads` work on about `budget` bytes at once, as `Reader` explains them; an object is held as a
    whole, and so is a part of a tensor that dcpx didn't pack. `progress` is True for a bar in the terminal (needs
    rich), or a function that is called with a `Progress`, which counts the items of both and their bytes in `a`.

    Raises LoadError if no name matches, which tells the nearest, ReplacedError if another save has replaced one of them
    meanwhile, what `inspect` raises of a checkpoint that can't be opened, and ValueError for wrong arguments.
    """
    check_crew(threads, budget)
    both = [open_checkpoint(path, limits=limits, storage_options=storage_options) for path in (a, b)]
    readers = [Elements(opened, limits=limits) for opened in both]
    found = [entries(reader) for reader in readers]
    paths = both[0].path, both[1].path
    names = matching((name for one in found for _, name in one), pattern, " and ".join(paths))
    keys = [key for key in dict.fromkeys((*found[0], *found[1])) if key[1] in names]
    if _is_one_save(*both):
        return Difference(*paths, [_item(key, found[0][key], found[1][key], None) for key in keys], True, len(keys))
    compared = {
        key: Compared(found[0][key], found[1][key])
        for key in keys
        if key in found[0] and key in found[1] and _is_comparable(found[0][key], found[1][key])
    }
    with telling(progress, f"comparing {paths[1]}") as tell, Crew(threads, budget) as crew:
        compare(readers[0], readers[1], list(compared.values()), crew, tell)
    rows = [_item(key, found[0].get(key), found[1].get(key), compared.get(key)) for key in keys]
    if any(row.error is not None for row in rows):
        for opened in both:
            check_current(opened)
    unread = sum(row.change == "same" and not compared[key].is_read for key, row in zip(keys, rows, strict=True))
    return Difference(*paths, rows, unread=unread)


def _is_one_save(a: Opened, b: Opened) -> bool:
    """Whether both have the same pointers of the same save, which its manifests vouch for."""

    def saves(opened: Opened) -> list[tuple[str, str | None, str]]:
        return [
            (one.name, None if one.pointed.manifest is None else one.pointed.manifest.checkpoint, one.pointed.digest)
            for one in opened.pointers
        ]

    return saves(a) == saves(b) and all(save is not None for _, save, _ in saves(a))


def _is_comparable(a: Entry, b: Entry) -> bool:
    """Whether they are two objects, or two tensors of one shape."""
    if isinstance(a, StoredTensor) and isinstance(b, StoredTensor):
        return a.shape == b.shape
    return type(a) is type(b)


def _item(key: Key, a: Entry | None, b: Entry | None, compared: Compared | None) -> ItemDifference:
    """The row of an item; `compared` is what was found of its content, None where that wasn't looked at."""
    rank, name = key
    dtypes, shapes = (_dtype(a), _dtype(b)), (_shape(a), _shape(b))
    error = None if compared is None else compared.error
    change: Change
    if a is None or b is None:
        change = "added" if a is None else "removed"
    elif error is not None:
        change = "unreadable"
    elif type(a) is type(b) and shapes[0] != shapes[1]:
        change = "reshaped"
    elif dtypes[0] != dtypes[1]:
        change = "recast"
    else:
        change = "changed" if compared is not None and compared.is_changed else "same"
    elements = None
    if compared is not None and change in ("recast", "changed"):
        elements = _elements(compared)
    return ItemDifference(name, rank, change, dtypes, shapes, elements, error)


def _dtype(entry: Entry | None) -> str | None:
    return entry.dtype if isinstance(entry, StoredTensor) else None


def _shape(entry: Entry | None) -> tuple[int, ...] | None:
    return entry.shape if isinstance(entry, StoredTensor) else None


def _elements(compared: Compared) -> ElementDifference | None:
    found, tensor = compared.distance, compared.a
    if not isinstance(tensor, StoredTensor) or (compared.is_changed and not found.changed):
        return None
    measured = is_numeric(tensor.dtype)
    counted = tensor.numel - found.apart
    return ElementDifference(
        tensor.numel,
        found.compared,
        found.changed,
        finite(found.maximum) if measured else None,
        finite(found.total / counted) if measured and counted else None,
        found.norm if measured else None,
        found.relative if measured else None,
        (found.nans[0], found.nans[1]),
        (found.infinities[0], found.infinities[1]),
    )


def _row(item: ItemDifference) -> tuple[str | int | float | None, ...]:
    found = item.elements
    return (
        item.name,
        item.change,
        _told(item, *(dtype or "object" for dtype in item.dtypes)),
        _told(item, *map(shape_text, item.shapes)),
        None if found is None else found.share,
        None if found is None else found.maximum,
        None if found is None else found.mean,
        None if found is None else found.relative,
        None if found is None else _told(item, *map(str, found.nans)),
        None if found is None else _told(item, *map(str, found.infinities)),
        None if item.error is None else item.error.cause,
    )


def _told(item: ItemDifference, a: str, b: str) -> str:
    """What is told of an item in a and in b, once if it is the same or if only one has the item."""
    if item.change in ("added", "removed") or a == b:
        return b if item.change == "added" else a
    return f"{a} -> {b}"


def _item_to_json(item: ItemDifference) -> dict[str, Any]:
    found = item.elements
    return {
        "name": item.name,
        "own_rank": item.own_rank,
        "change": item.change,
        "dtypes": item.dtypes,
        "shapes": item.shapes,
        "elements": None
        if found is None
        else {
            "count": found.count,
            "compared": found.compared,
            "changed": found.changed,
            "share": found.share,
            "maximum": found.maximum,
            "mean": found.mean,
            "norm": found.norm,
            "relative": found.relative,
            "nans": found.nans,
            "infinities": found.infinities,
        },
        "error": None if item.error is None else str(item.error),
    }
