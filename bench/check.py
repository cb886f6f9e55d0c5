"""`python -m bench.check`: do the codecs still give the sizes of the committed results? For whoever changes a kernel.

Takes a minute or two: nothing is timed, and the optimizer is trained for the fewer steps only. Each level codes each
data set once, and what comes out is decoded and compared bit for bit.
Its size is held against bench/results/codec.json: exit status 1 if one is larger by more than a thousandth, or
if that file lacks it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from dcpx.codecs import CODECS, Lanes
from dcpx.codecs.auto import Auto
from dcpx.codecs.dtypes import lanes_of

from .codec import CHUNK
from .data import STEPS, Array, samples

RESULTS = Path(__file__).parent / "results" / "codec.json"
ALLOWED = 1.001
LEVELS = {"dcpx fast": Auto(), "dcpx small": Auto(small=True)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    committed = {
        (row["data"], row["codec"]): row.get("ratio") for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    }
    worse = 0
    print(f"{'data':<24}{'level':<12}{'committed':>10}{'now':>10}")
    for sample in samples(STEPS[:1]):
        for level, encoder in LEVELS.items():
            coded = sum(_coded(tensor, encoder, lanes_of(sample.dtype)) for tensor in sample.tensors)
            ratio, before = coded / sample.nbytes, committed.get((sample.name, level))
            wrong = before is None or ratio > before * ALLOWED
            worse += wrong
            told = "missing" if before is None else f"{before:.4f}"
            verdict = "" if not wrong else "larger" if before is not None else "not committed"
            print(f"{sample.name:<24}{level:<12}{told:>10}{ratio:>10.4f}  {verdict}", flush=True)
    return int(worse > 0)


def _coded(tensor: Array, encoder: Auto, lanes: Lanes) -> int:
    """Bytes of a tensor in chunks, each of which is decoded again; ValueError if that isn't what was coded."""
    size = 0
    for piece in np.split(tensor, range(CHUNK, tensor.nbytes, CHUNK)):
        (codec, parameter, payload), _ = encoder.encode(memoryview(piece.data), lanes, still=True)
        out = np.empty_like(piece)
        CODECS[codec].decode(memoryview(payload), parameter, memoryview(out.data))
        if not np.array_equal(out, piece):
            raise ValueError("what was decoded differs from what was coded")
        size += len(payload)
    return size


if __name__ == "__main__":
    sys.exit(main())
