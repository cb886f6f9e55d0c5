"""Tries an installed dcpx, without torch, its sources or a compiler: `python wheels/smoke.py`.

Everything that is compiled is called once: each codec, each set of instructions that this processor has, frames whole
and damaged. Speeds are printed at the end, of one thread where the codec has one, the best of a few tries.
"""

from __future__ import annotations

import io
import platform
import re
import sys
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

import dcpx
from dcpx import kernels
from dcpx.codecs import CODECS, CodecError, Lanes
from dcpx.codecs.dtypes import lanes_of
from dcpx.errors import CorruptError, DcpxError, TruncatedError
from dcpx.extension import Item
from dcpx.extensions.pack import Pack
from dcpx.frame import open_frame

LICENCES = {"LICENSE", "LICENSE-LLVM", "LICENSE-Zig", "LICENSE-nanobind", "LICENSE-robin-map", "LICENSE-xxHash"}


def weights(elements: int) -> bytes:
    """bfloat16 that looks like weights: the upper halves of normally distributed float32."""
    values = np.random.default_rng(0).normal(0, 0.02, elements).astype("<f4")
    return (values.view("<u4") >> 16).astype("<u2").tobytes()


def try_files() -> None:
    package = Path(dcpx.__file__).parent
    page = ("page/page.html", "page/style.css", "page/main.js", "vendor/echarts.min.js", "vendor/LICENSE")
    for wanted in ("../dcpx.pth", "py.typed", "kernels/_native.pyi", *(f"views/report/{name}" for name in page)):
        assert (package / wanted).is_file(), f"{wanted} isn't installed"
    installed = {path.name for path in distribution("dcpx").files or () if "licenses" in path.parts}
    assert installed >= LICENCES, f"these licences aren't installed: {LICENCES - installed}"
    sources = [path for path in package.rglob("*") if path.suffix in {".cpp", ".hpp", ".h", ".map"}]
    assert not sources, f"sources are installed: {sources}"


def try_choice() -> str:
    """The instructions in use are the best that the system says the processor has."""
    system = Path("/proc/cpuinfo").read_text() if platform.machine() == "x86_64" else ""
    flags = set(re.findall(r"\w+", "".join(re.findall(r"^flags\s*:(.*)$", system, re.MULTILINE))))
    has = {"portable": True, "avx2": flags >= {"avx2", "bmi1", "bmi2", "abm"}}
    has["avx512"] = has["avx2"] and flags >= {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    for name, known in has.items():
        assert kernels.use_instructions(name) == known, f"{name} isn't found, or found where it isn't"
    kernels.use_instructions("best")
    return next(name for name in reversed(has) if has[name])


def try_codecs(raw: bytes) -> None:
    """Every codec gives back what it got, or refuses; the float codec codes alike with all instructions."""
    lanes = lanes_of("bfloat16")
    for codec in CODECS.values():
        for part, grouped in ((raw, lanes), (raw, Lanes()), (bytes(len(raw)), lanes)):
            coded = codec.encode(memoryview(part), grouped)
            if coded is None:
                continue
            out = bytearray(len(part))
            codec.decode(memoryview(coded.payload), coded.parameter, memoryview(out))
            assert out == part, f"{codec.name} gave other bytes back"
    results = set()
    for instructions in ("portable", "avx2", "avx512"):
        if kernels.use_instructions(instructions):
            made = kernels.float_encode(raw, 2, True, True)
            assert made is not None
            parameter, payload = made
            assert len(payload) < len(raw) * 0.75, "weights didn't become smaller"
            out = bytearray(len(raw))
            kernels.float_decode(payload, out, parameter)
            assert out == raw, f"{instructions} gave other bytes back"
            results.add((parameter, bytes(payload), kernels.xxh3_128(raw)))
    kernels.use_instructions("best")
    assert len(results) == 1, "other instructions gave other bytes"


def framed(raw: bytes) -> bytes:
    kept: list[bytes] = []

    class Kept(io.BytesIO):
        def close(self) -> None:
            if not self.closed:
                kept.append(self.getvalue())
            super().close()

    with Pack().transform_item_to(Kept(), Item("weight", (0,), "bfloat16", (len(raw) // 2,), True, bytes(16))) as out:
        out.write(raw)
    return kept[0]


def unframed(frame: bytes) -> bytes:
    with open_frame(io.BytesIO(frame)) as stream:
        return stream.read()


def refuses(action: Callable[[], object], *errors: type[Exception]) -> None:
    try:
        action()
    except errors:
        return
    raise AssertionError(f"{', '.join(error.__name__ for error in errors)} wasn't raised")


def try_frames(raw: bytes) -> None:
    frame = framed(raw)
    assert len(frame) < len(raw) * 0.75, "a frame of weights isn't smaller than they are"
    assert unframed(frame) == raw, "a frame gave other bytes back"
    for position in (0, 5, 9, len(frame) // 3, len(frame) // 2, len(frame) - 3):
        damaged = bytearray(frame)
        damaged[position] ^= 4
        refuses(lambda damaged=damaged: unframed(bytes(damaged)), DcpxError)  # type: ignore[misc]
    damaged = bytearray(frame)
    damaged[len(frame) // 2] ^= 4
    refuses(lambda: unframed(bytes(damaged)), CorruptError)
    refuses(lambda: unframed(frame[: len(frame) // 2]), TruncatedError)
    refuses(lambda: unframed(b""), TruncatedError)
    floats = next(codec for codec in CODECS.values() if codec.name == "float")
    refuses(lambda: floats.decode(memoryview(bytes(99)), 0, memoryview(bytearray(400))), CodecError)


def speed(action: Callable[[], object], size: int) -> float:
    """GB/s of the best of some tries."""
    best = float("inf")
    for _ in range(15):
        begin = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - begin)
    return size / best / 1e9


def main() -> None:
    raw = weights(2 << 20)
    try_files()
    chosen = try_choice()
    try_codecs(raw)
    try_frames(raw)
    assert "torch" not in sys.modules
    coded = kernels.float_encode(raw, 2, True, False)
    assert coded is not None
    parameter, payload = coded
    out = bytearray(len(raw))
    encoding = speed(lambda: kernels.float_encode(raw, 2, True, False), len(raw))
    decoding = speed(lambda: kernels.float_decode(payload, out, parameter), len(raw))
    hashing = speed(lambda: kernels.xxh3(raw, 0), len(raw))
    python = f"CPython {platform.python_version()} on {platform.machine()} with {chosen}"
    print(f"dcpx works with {python}; encode {encoding:.2f}, decode {decoding:.2f}, hash {hashing:.2f} GB/s")


if __name__ == "__main__":
    main()
