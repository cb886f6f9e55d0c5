"""The targets of fuzz/python hold for the inputs that fuzzing begins with, the kernels for those of the archives."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path

import pytest

from dcpx import DcpxError, kernels

sys.path.append(str(Path(__file__).parents[2] / "fuzz"))
sys.path.append(str(Path(__file__).parents[2] / "fuzz/python"))

from corpus import inputs, pack, unpack
from targets import MAX_LENGTH, TARGETS

FUZZ = Path(__file__).parents[2] / "fuzz"
ARCHIVES = sorted((FUZZ / "corpus").iterdir())
LANES = ((1, False), (2, False), (2, True), (4, False), (4, True), (8, False), (8, True))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str):
    outcomes: Counter[str] = Counter()
    for seed in TARGETS[name].seeds():
        if len(seed) <= MAX_LENGTH:
            try:
                TARGETS[name].run(seed)
                outcomes["read"] += 1
            except DcpxError as error:
                outcomes[type(error).__name__] += 1
    assert outcomes["read"] > 0, outcomes


def test_the_archives_are_those_of_the_native_targets():
    makefile = (FUZZ / "Makefile").read_text("utf-8")
    (targets,) = (line.split("=")[1].split() for line in makefile.splitlines() if line.startswith("TARGETS"))
    assert [archive.name for archive in ARCHIVES] == sorted(f"{target}.zip" for target in targets)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.stem)
def test_the_same_inputs_make_the_same_archive(archive: Path, tmp_path: Path):
    count = unpack(archive, tmp_path / "inputs")
    assert count == len(inputs(archive)) == len(list((tmp_path / "inputs").iterdir())) > 100
    (tmp_path / "inputs/found").write_bytes(next((tmp_path / "inputs").iterdir()).read_bytes())
    assert pack(tmp_path / "inputs", tmp_path / "again.zip") == count
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.stem)
def test_the_kernels_hold_for_the_archives(archive: Path):
    for data in inputs(archive).values():
        kernels.sniff_lane(data)
        for width, rotated in LANES:
            coded = kernels.float_encode(data, width, rotated, small=False)
            if coded is not None:
                out = bytearray(len(data))
                kernels.float_decode(coded[1], out, coded[0])
                assert out == data
            for form in range(4):
                out = bytearray(2 * len(data) + width)
                with contextlib.suppress(ValueError):
                    kernels.float_decode(data, out, width | form << 8)
