"""What a rank reports of its part of a save, on its way to the coordinator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch.distributed.checkpoint.storage import WriteResult

from ..catalog.manifest import FileRecord, Seal
from .replicas import Replicas

__all__ = ["StoredItemResult", "Written"]


@dataclass(frozen=True)
class StoredItemResult(WriteResult):
    """Where an item is stored, and what seals it for the manifest."""

    seal: Seal


class Written(list[WriteResult]):
    """A rank's results, as the list that DCP wants.

    `files` describes the files that they are in. `held` is what other ranks, if there are any, may hold as well.
    """

    def __init__(self, results: Iterable[WriteResult] = (), files: Iterable[FileRecord] = ()) -> None:
        super().__init__(results)
        self.files = list(files)
        self.held: Replicas = {}
