"""What every rank of a load needs is read by one of them, and told to the others."""

from __future__ import annotations

import torch.distributed as dist

from .reader import Reader

__all__ = ["share_metadata"]


def share_metadata(reader: Reader, process_group: dist.ProcessGroup | None) -> None:
    """Have the group's first rank read `.metadata` and its manifest, for the load that each rank of the group is about
    to begin with its `reader`: a store is asked once, however many ranks there are, and all see the same save.

    Every rank checks what it is told. Where the first can't read it, each rank reads by itself, and learns why. Raises
    what the collective raises.
    """
    rank = dist.get_rank(process_group)
    if rank < 0:
        return
    files = None
    if rank == 0:
        try:
            files = reader.read_for_all()
        except Exception:  # noqa: BLE001 (the others wait; DCP asks for it once more, and reports the error)
            files = None
    told = [files]
    source = 0 if process_group is None else dist.get_global_rank(process_group, 0)
    dist.broadcast_object_list(told, src=source, group=process_group)
    reader.know(told[0])
