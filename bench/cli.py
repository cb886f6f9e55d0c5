"""How fast does one see into a checkpoint? The command from the prompt, and what `verify` and `diff` read a second.

Below /dev/shm, which is as fast as memory. `verify` stands beside reading the same files with two threads, and beside a
load into memory that is at hand; `diff` beside loading both checkpoints. The report is opened in a headless Chromium,
if there is one, and timed until its first chart is drawn.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import torch

import dcpx

from .in_turn import Row, in_turn, show
from .states import STATES, State, nbytes, spoilt

ROUNDS = 5
COUNTS = (1_000, 100_000)
TENSORS = 20_000
PART = 1 << 20


def run(rounds: int = ROUNDS) -> list[Row]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as name:
        folder = Path(name)
        rows = _prompt(folder, rounds)
        state = STATES["large"]()
        rows += _verify(folder, state, rounds)
        rows += _diff(folder, state, rounds)
        rows += _report(folder, rounds)
    return rows


def _prompt(folder: Path, rounds: int) -> list[Row]:
    """`dcpx inspect` as a process of its own, of tensors of 8 elements."""
    rows: list[Row] = []
    first = 0.0
    for count in COUNTS:
        values = torch.randn(count, 8)
        names = (f"layers.{number // 10}.{number % 10}.weight" for number in range(count))
        dcpx.save(dict(zip(names, values, strict=True)), folder / "many", sync=False)
        found = [_command("inspect", folder / "many") for _ in range(rounds + 1)][1:]
        took = median(seconds for seconds, _ in found)
        first = first or took
        row: Row = {"section": "inspect from the prompt", "way": f"{count:,} items", "raw": values.nbytes}
        row |= {"seconds": [round(seconds, 4) for seconds, _ in found], "gbps": values.nbytes / took / 1e9}
        rows.append({**row, "of_first": took / first, "extra": max(peak for _, peak in found)})
        shutil.rmtree(folder / "many")
    show("inspect from the prompt", rows)
    return rows


_TIMED = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(json.dumps([time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
"""


def _command(*arguments: str | Path) -> tuple[float, int]:
    """Seconds of a run of `dcpx`, and its peak resident size in bytes. It is started by a small process: for a moment
    the one that is started is as large as the one that starts it."""
    command = [sys.executable, "-c", _TIMED, Path(sys.executable).with_name("dcpx"), *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    took, peak = json.loads(done.stdout)
    return took, peak


def _verify(folder: Path, state: State, rounds: int) -> list[Row]:
    rows: list[Row] = []
    targets = spoilt(state)
    for codec in ("raw", "auto"):
        path = folder / codec
        dcpx.save(state, path, pack=dcpx.Pack(codec), sync=False)
        ways: dict[str, Callable[[], object]] = {
            "read the files": lambda path=path: _read(path),  # type: ignore[misc]
            "load": lambda path=path: dcpx.load(targets, path),  # type: ignore[misc]
            "verify": lambda path=path: _whole(path),  # type: ignore[misc]
        }
        rows += in_turn(f"verify, {codec}", nbytes(state), ways, rounds=rounds)
        shutil.rmtree(path)
    return rows


def _read(path: Path) -> None:
    """All bytes of a checkpoint's files with two threads, each into a buffer of its own that it uses again."""

    def half(part: int) -> None:
        buffer = bytearray(PART)
        for file in path.iterdir():
            size = file.stat().st_size
            begin, end = part * size // 2, (part + 1) * size // 2
            with open(file, "rb", buffering=0) as stream:
                while begin < end:
                    begin += os.preadv(stream.fileno(), [memoryview(buffer)[: end - begin]], begin)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(half, range(2)))


def _whole(path: Path) -> None:
    report = dcpx.verify(path)
    if not report.ok:
        raise ValueError(f"{path}: {report}")


def _diff(folder: Path, state: State, rounds: int) -> list[Row]:
    """Of two saves of the same state, and of two of which each element differs by a factor."""
    other = {name: tensor * 1.01 if tensor.is_floating_point() else tensor + 1 for name, tensor in state.items()}
    for name, one in (("a", state), ("again", state), ("b", other)):
        dcpx.save(one, folder / name, sync=False)
    targets = [spoilt(state), spoilt(state)]

    def load_both() -> None:
        dcpx.load(targets[0], folder / "a")
        dcpx.load(targets[1], folder / "b")

    def compare(name: str, *, same: bool) -> None:
        if dcpx.diff(folder / "a", folder / name).is_same != same:
            raise ValueError("a wrong difference")

    rows = in_turn(
        "diff",
        2 * nbytes(state),
        {
            "load both": load_both,
            "diff of different ones": lambda: compare("b", same=False),
            "diff of equal ones": lambda: compare("again", same=True),
        },
        rounds=rounds,
    )
    for name in ("a", "again", "b"):
        shutil.rmtree(folder / name)
    return rows


def _report(folder: Path, rounds: int) -> list[Row]:
    values = torch.randn(TENSORS, 8)
    names = (f"layers.{number // 100}.experts.{number % 100}.weight" for number in range(TENSORS))
    dcpx.save(dict(zip(names, values, strict=True)), folder / "many", sync=False)
    page = folder / "report.html"
    begin = time.perf_counter()
    dcpx.report(folder / "many", page)
    made = time.perf_counter() - begin
    row: Row = {
        "section": "report",
        "way": f"of {TENSORS:,} tensors",
        "raw": values.nbytes,
        "page": page.stat().st_size,
    }
    row |= {"make_s": round(made, 4), "open_s": _opened(page, rounds)}
    print(f"report of {TENSORS:,} tensors: {row['page']:,} bytes, made in {made:.2f} s, open after {row['open_s']} s")
    return [row]


def _opened(page: Path, rounds: int) -> list[float]:
    """Seconds from opening the page until its first chart is drawn; none where there is no Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        return []
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(rounds + 1):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(page.as_uri())
            tab.wait_for_function("performance.getEntriesByName('first chart').length > 0")
            took = tab.evaluate("performance.getEntriesByName('first chart')[0].startTime")
            seconds.append(round(float(took) / 1e3, 4))
            tab.close()
        browser.close()
    return seconds[1:]
