"""Packed: the frames of small tensors, all of a job checked and decoded in one native call.

The kernels only say which ones they took. Of any other, which may be damaged, or coded or made as they don't know it,
`running` finds out what it is.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..catalog.frames import KNOWN_CODECS, expected
from .buffers import Buffers
from .failures import Failures
from .jobs import Neighbours, Wanted

__all__ = ["unpack"]


def unpack(job: Neighbours, stored: memoryview, buffers: Buffers, failures: Failures) -> tuple[int, list[Wanted]]:
    """Fill the targets of the items that the kernels can unpack; returns how many bytes that were, and the other items.

    `stored` is what the job has read. An error of a target is raised or goes to `failures`.
    """
    checkpoint = _id(job.wanted[0].item.save_id)
    if checkpoint == b"":
        return 0, job.wanted
    begun: list[tuple[Wanted, bool]] = []
    jobs: list[tuple[int, int, Any, bytes, kernels.FrameForm, int | None]] = []
    others: list[Wanted] = []
    for wanted in job.wanted:
        item, targets = wanted
        wants = expected(item) if targets and item.is_packed else None
        if wants is None:
            others.append(wanted)
            continue
        with failures.reading(job.source.name, item):
            for target in targets:
                target.prepare()
            # A view, and not only its address: torch keeps the memory from being resized as long as there is one.
            memory = targets[0].whole_memory if len(targets) == 1 else None
            out = memory
            if out is None:
                out = buffers.decoded(item.nbytes, any(target.on_device for target in targets))
            begun.append((wanted, memory is not None))
            jobs.append((item.info.offset - job.offset, item.info.length, out, *wants))
    refused = set(kernels.unpack_frames(stored, jobs, checkpoint, KNOWN_CODECS))
    filled = 0
    for number, ((wanted, direct), (_, _, out, *_)) in enumerate(zip(begun, jobs, strict=True)):
        if number in refused:
            others.append(wanted)
        elif direct:
            filled += wanted.item.nbytes
        else:
            with failures.reading(job.source.name, wanted.item):
                filled += sum([target.fill(out, 0) for target in wanted.targets])
    buffers.release()
    return filled, others


def _id(save_id: str | None) -> bytes | None:
    """A save's id as frames hold it; None where none is known, and empty where no frame can hold it."""
    if save_id is None:
        return None
    text = save_id.replace("-", "")
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if len(found) == 16 and found.hex() == text else b""
