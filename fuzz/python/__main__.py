"""`python fuzz/python NAME [options and folders of libFuzzer]` fuzzes one target; without a name, their names."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import atheris

# Of these, nothing is to be covered.
import hypothesis  # noqa: F401
import numpy  # noqa: F401
import pytest  # noqa: F401
import torch.distributed.checkpoint  # noqa: F401

with atheris.instrument_imports(include=["dcpx"]):
    from targets import MAX_LENGTH, ROOT, TARGETS, Target

    from dcpx import DcpxError
    from dcpx.pickles import account as _account


def main() -> None:
    if len(sys.argv) < 2:
        print(*TARGETS)
        return
    name = sys.argv.pop(1)
    target = TARGETS[name]

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except DcpxError as error:
            message = str(error)
        else:
            message = ""
        assert len(message) < 2000

    warnings.simplefilter("ignore")
    _account._ROOM = 1 << 24  # what uses it up takes no seconds
    folder = ROOT / "build/fuzz/python/told" / name
    atheris.Setup([*sys.argv, f"-max_len={MAX_LENGTH}", *prepared(target, folder)], run)
    atheris.Fuzz()


def prepared(target: Target, folder: Path) -> list[str]:
    """What libFuzzer is told besides: the target's seeds and words, as files."""
    seeds = folder / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        if len(seed) <= MAX_LENGTH:
            (seeds / str(number)).write_bytes(seed)
    if not target.words:
        return [str(seeds)]
    words = folder / "words"
    words.write_text("".join(f'"{escaped(word)}"\n' for word in target.words))
    return [f"-dict={words}", str(seeds)]


def escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


main()
