"""How small and how fast are the codecs? dcpx beside memcpy and the peers, on real and on hard data, in one run.

Every row codes the same tensors one after another (dcpx in chunks of 1 MiB, as it stores them; a peer each tensor
whole), on one thread and on two, and every output is compared bit for bit. Coded outputs are dropped as soon as they
are made, as a writer would. GB/s are of raw data, medians over the rounds.

`entropy` is no codec but what bfloat16 and float16 could come to, chunk by chunk, by coding each exponent, the mantissa
given the exponent, and the sign: the counts' entropy, with what so many counts miss of it (Miller and Madow 1955).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from dcpx.codecs import CODECS, Encoder, Lanes
from dcpx.codecs.auto import Auto
from dcpx.codecs.dtypes import ITEM_SIZES, lanes_of

from .data import Array, Sample, samples
from .peers import PEERS, Peer

CHUNK = 1 << 20
THREADS = (1, 2)
SECONDS = 0.6
"""A row's encoding and decoding are each repeated for this long, three times at least and nine at most."""


class _Memcpy:
    version = "numpy"
    alone = False

    def __init__(self) -> None:
        self._warm = threading.local()

    def encode(self, piece: Array) -> Array:
        if not hasattr(self._warm, "memory"):
            self._warm.memory = np.ones(CHUNK, np.uint8)
        np.copyto(self._warm.memory[: piece.nbytes], piece)
        return piece

    def decode(self, coded: Array, out: Array) -> None:
        np.copyto(out, coded)


class _Dcpx:
    """A level of dcpx: chunks in, chunks out into memory that the caller holds, as its reader does."""

    version = "this"
    alone = False

    def __init__(self, encoder: Encoder, lanes: Lanes) -> None:
        self._encoder = encoder
        self._lanes = lanes

    def encode(self, piece: Array) -> tuple[int, int, Any]:
        coded, _ = self._encoder.encode(memoryview(piece.data), self._lanes, still=False)
        return coded

    def decode(self, coded: tuple[int, int, Any], out: Array) -> None:
        codec, parameter, payload = coded
        CODECS[codec].decode(memoryview(payload), parameter, memoryview(out.data))


class _Peer:
    """A peer makes its own output; copying it to where the caller wants it is not counted."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.version = peer.version
        self.alone = peer.alone

    def encode(self, piece: Array) -> Any:
        return self._peer.encode(piece)

    def decode(self, coded: Any, out: Array) -> Any:
        return self._peer.decode(coded, out.nbytes)


def run() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    console = Console(width=110)
    for sample in samples():
        table = Table(title=f"{sample.name}: {len(sample.tensors)} tensors, {sample.nbytes:,} bytes")
        table.add_column("codec")
        for heading in ("version", "ratio", "enc GB/s", "dec GB/s", "enc, 2 threads", "dec, 2 threads", "exact"):
            table.add_column(heading, justify="right")
        for name, row in _rows(sample):
            rows.append({"data": sample.name, "codec": name, **row})
            table.add_row(name, *_shown(row))
        console.print(table)
    return rows


def _rows(sample: Sample) -> list[tuple[str, dict[str, object]]]:
    lanes = lanes_of(sample.dtype)
    chunks = [piece for tensor in sample.tensors for piece in np.split(tensor, range(CHUNK, tensor.nbytes, CHUNK))]
    whole = [np.concatenate(sample.tensors)]
    rows = [
        ("memcpy", _measure(_Memcpy(), chunks)),
        ("dcpx fast", _measure(_Dcpx(Auto(), lanes), chunks)),
        ("dcpx small", _measure(_Dcpx(Auto(small=True), lanes), chunks)),
    ]
    if sample.dtype in ("bfloat16", "float16"):
        ratio = sum(map(_entropy, chunks)) / sample.nbytes
        rows.append(("entropy", {"version": "bound", "ratio": ratio}))
    for name, make in PEERS.items():
        try:
            peer = make(sample.dtype, ITEM_SIZES[sample.dtype])
            row = _measure(_Peer(peer), whole if peer.whole else sample.tensors)
        except (ImportError, NotImplementedError) as error:
            row = {"missing": str(error)}
        except Exception as error:  # noqa: BLE001 (a peer's failure is a finding, not the end of the run)
            row = {"missing": f"failed: {error!r:.60}"}
        rows.append((name, row))
    return rows


def _entropy(piece: Array) -> float:
    """Bytes of lanes of two bytes: a bit for each sign, and the entropy of what is below it."""
    counts = np.bincount(piece.view("<u2") & 0x7FFF)
    counts = counts[counts > 0]
    lanes = int(counts.sum())
    bits = float(np.log2(lanes) - (counts * np.log2(counts)).sum() / lanes) + (len(counts) - 1) / (
        2 * lanes * np.log(2)
    )
    return float(lanes * (1 + bits) / 8)


def _measure(codec: Any, pieces: Sequence[Array]) -> dict[str, object]:
    raw = sum(piece.nbytes for piece in pieces)
    targets = [_aligned(piece.nbytes) for piece in pieces]
    coded = [codec.encode(piece) for piece in pieces]
    for one, target, piece in zip(coded, targets, pieces, strict=True):
        made = codec.decode(one, target)
        if bytes(target if made is None else made) != piece.tobytes():
            raise ValueError("the output differs")
    row: dict[str, object] = {"version": codec.version, "ratio": sum(map(_size, coded)) / raw, "exact": True}
    for threads in THREADS[: 1 if codec.alone else None]:
        encoding = _seconds(threads, lambda piece: _drop(codec.encode(piece)), [(piece,) for piece in pieces])
        decoding = _seconds(threads, lambda *job: _drop(codec.decode(*job)), list(zip(coded, targets, strict=True)))
        row[f"encode_{threads}"], row[f"decode_{threads}"] = raw / encoding / 1e9, raw / decoding / 1e9
    return row


def _seconds(threads: int, work: Callable[..., None], jobs: Sequence[tuple[Any, ...]]) -> float:
    """The median time to do all jobs once, dealt out to `threads` threads by turns."""

    def some(part: int) -> None:
        for job in jobs[part::threads]:
            work(*job)

    times: list[float] = []
    with ThreadPoolExecutor(threads) as pool:
        while len(times) < 3 or (sum(times) < SECONDS and len(times) < 9):
            start = time.perf_counter()
            if threads == 1:
                some(0)
            else:
                list(pool.map(some, range(threads)))
            times.append(time.perf_counter() - start)
    return median(times)


def _drop(made: object) -> None:
    """Let go of an output."""


def _size(coded: Any) -> int:
    payload = coded[2] if isinstance(coded, tuple) else coded
    return memoryview(payload).nbytes


def _aligned(size: int) -> Array:
    """Memory like a tensor's: at a multiple of 64 bytes, and touched before it is measured."""
    memory = np.ones(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def _shown(row: dict[str, object]) -> list[str]:
    if "missing" in row:
        return ["missing", str(row["missing"])]
    keys = ("encode_1", "decode_1", "encode_2", "decode_2")
    numbers = [f"{row[key]:.2f}" if key in row else "-" for key in keys]
    return [str(row["version"]), f"{row['ratio']:.4f}", *numbers, "yes" if row.get("exact") else ""]
