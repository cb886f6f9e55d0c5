"""Failures: items that can't be loaded, which end the load or, in a partial one, are only noted."""

from __future__ import annotations

from collections.abc import Iterable

from ..catalog.items import StoredItem
from ..errors import DcpxError, LoadError
from ..located import error_in

__all__ = ["Failures"]


class Failures:
    """What became of the items of one load that can't be read.

    With `partial` the error of an item is noted in `by_name`, under the item's name, and the load goes on; without, it
    is raised, and `by_name` stays empty. Threads may share it.
    """

    def __init__(self, partial: bool) -> None:
        self.partial = partial
        self.by_name: dict[str, DcpxError] = {}

    def reading(self, file: str, item: StoredItem) -> _Reading:
        """A block that reads `item` in `file`: as `dcpx.located.reading`, but that the error may be noted."""
        return _Reading(self, file, item)

    def of(self, items: Iterable[StoredItem]) -> _Of:
        """A block about all `items`, whose DcpxError, as it is, may be noted for each of them."""
        return _Of(self, items)

    def note(self, error: BaseException | None, items: Iterable[StoredItem]) -> bool:
        """Note the error for all `items`; False if it is none that may be noted, and is to be raised."""
        if not self.partial or not isinstance(error, DcpxError):
            return False
        self.by_name.update((item.name, error) for item in items)
        return True


class _Of:
    __slots__ = ("_failures", "_items")

    def __init__(self, failures: Failures, items: Iterable[StoredItem]) -> None:
        self._failures = failures
        self._items = items

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return self._failures.note(error, self._items)


class _Reading:
    """Thousands of items pass through it, so that an item's name is only asked for after an error."""

    __slots__ = ("_failures", "_file", "_item")

    def __init__(self, failures: Failures, file: str, item: StoredItem) -> None:
        self._failures = failures
        self._file = file
        self._item = item

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        found = error_in(error, LoadError, self._file, self._item.name)
        if not self._failures.note(found, [self._item]):
            raise found from found.__cause__
        return True
