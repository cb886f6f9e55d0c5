"""Tensors of stock checkpoints: every kind loads, and nothing that a container says crashes, runs or is believed.

By default every seventh bit of a container is flipped, so that each byte has one flipped or two; every one with
`make soak`.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from containers import saved, stock_checkpoint
from hostile_containers import BAD, GOOD, TENSOR
from tests.support.tensor_kinds import KINDS, Marked
from tests.support.tensors import bits

import dcpx
from dcpx.pickles.containers import check_container

# --- every kind of tensor that DCP stores -----------------------------------------------------------------------------

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per:UserWarning")


def elements(tensor: torch.Tensor) -> bytes:
    return bits(tensor.int_repr() if tensor.is_quantized else tensor)


@pytest.fixture
def marked_allowed() -> Iterator[None]:
    with torch.serialization.safe_globals([Marked]):
        yield


@pytest.mark.usefixtures("marked_allowed")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads(kind: str, tmp_path: Path):
    """As DCP stores it, and as torch.save does, which DCP's writers of old or of others may have left to it."""
    tensor = KINDS[kind]
    for name, stored in (("by DCP", None), ("by torch", saved(tensor))):
        path = stock_checkpoint(tmp_path / name, tensor, stored)
        target = torch.empty_like(tensor) if tensor.is_quantized else torch.empty(tensor.shape, dtype=tensor.dtype)
        dcpx.load({"x": target}, path)
        assert elements(target) == elements(tensor)


def test_a_class_that_nobody_allowed(tmp_path: Path):
    path = stock_checkpoint(tmp_path, KINDS["of a user's class"])
    with pytest.raises(dcpx.UnsupportedError, match=r"names \S*Marked,") as caught:
        dcpx.load({"x": torch.empty(4, 6)}, path)
    assert "safe_globals" in caught.value.remedy


def test_the_words_are_right(tmp_path: Path):
    """Else what is refused below would be refused for another reason than its own."""
    for name, good in GOOD.items():
        path = stock_checkpoint(tmp_path / name, TENSOR, good)
        target = torch.zeros_like(TENSOR)
        dcpx.load({"x": target}, path)
        assert bits(target) == bits(TENSOR)


class Watched(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_elements_are_read_once():
    for tensor in (torch.zeros(30 << 20), torch.zeros(4)):
        stream = Watched(saved(tensor))
        check_container(stream)
        assert stream.count < 3000


# --- what a container says is not believed ----------------------------------------------------------------------------

CHILD = """
    import json, resource, sys, time
    import torch, dcpx

    dcpx.load({"x": torch.zeros(1000)}, sys.argv[2])  # starts what is started once
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[1]) << 20),) * 2)
    for path in sys.argv[3:]:
        begin = time.process_time()
        target = torch.zeros(1000)
        try:
            dcpx.load({"x": target}, path)
            outcome, message = "loaded", ""
        except dcpx.DcpxError as error:
            outcome, message = type(error).__name__, str(error)
        print(json.dumps([outcome, message, time.process_time() - begin]), flush=True)
"""

Outcome = tuple[str, str, float]


def outcomes(good: Path, paths: list[Path], megabytes: int) -> list[Outcome]:
    """What loading each in turn ends in, in a process that has so much memory left; one that dies is followed by
    another."""
    found: list[Outcome] = []
    while len(found) < len(paths):
        rest = list(map(str, paths[len(found) :]))
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(CHILD), str(megabytes), str(good), *rest]
        with open(good.parent / "found", "w+") as output:
            try:
                ended = str(subprocess.run(command, stdout=output, timeout=60, cwd=good.parent).returncode)
            except subprocess.TimeoutExpired:
                ended = "after a minute"
            output.seek(0)
            found += [tuple(json.loads(line)) for line in output]
        if len(found) < len(paths):
            found.append(("died", ended, 0.0))
    return found


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    root = tmp_path_factory.mktemp("loads")
    good = stock_checkpoint(root / "good", TENSOR)
    paths = [stock_checkpoint(root / str(number), TENSOR, make()) for number, make in enumerate(BAD.values())]
    return root, dict(zip(BAD, outcomes(good, paths, 1400), strict=True))


@pytest.mark.parametrize("kind", BAD)
def test_nothing_is_believed(kind: str, loads: tuple[Path, dict[str, Outcome]]):
    outcome, message, seconds = loads[1][kind]
    assert outcome in ("CorruptError", "TruncatedError", "UnsupportedError"), message
    assert "memory" not in message
    assert len(message) < 1000
    assert seconds < 60


def test_nothing_is_run(loads: tuple[Path, dict[str, Outcome]]):
    assert not list(loads[0].rglob("CANARY"))


STEP = "1" if "DCPX_STRESS" in os.environ else "7"
FLIPS = """
    import collections, io, json, resource, sys
    import torch
    from dcpx import DcpxError
    from dcpx.pickles.archive import open_archive
    from dcpx.pickles.containers import check_container

    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
    container = open(sys.argv[1], "rb").read()

    def load(data):
        stream = io.BytesIO(data)
        try:
            check_container(stream)
        except DcpxError as error:
            return type(error).__name__
        archive = open_archive(stream)
        try:
            reader = torch._C.PyTorchFileReader(io.BytesIO(data))
            for name in archive.records:
                assert reader.get_record(name) == archive.read(name, len(data)), name
            tensor = torch.load(io.BytesIO(data), weights_only=True)
        except (RuntimeError, ValueError) as error:
            assert "memory" not in str(error)
            return "refused by torch"
        assert tensor.nbytes <= len(data)
        tensor.clone()
        return "loaded"

    found = collections.Counter(load(container[:size]) for size in range(len(container)))
    assert not found.keys() & {"loaded", "refused by torch"}, found
    found = collections.Counter()
    for bit in range(0, len(container) * 8, int(sys.argv[2])):
        data = bytearray(container)
        data[bit // 8] ^= 1 << bit % 8
        found[load(bytes(data))] += 1
    print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["a part", "quantized by channel"])
def test_every_bit_and_every_length(kind: str, tmp_path: Path):
    """Flipped, it may hold other elements, or be marked as on another device; but nothing breaks."""
    (tmp_path / "container").write_bytes(saved(KINDS[kind]))
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FLIPS), str(tmp_path / "container"), STEP]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["CorruptError"] > found.get("refused by torch", 0)
    print(found)
