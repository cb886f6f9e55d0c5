"""`python -m reader CHECKPOINT`: lists its tensors and objects, each read, checked and hashed."""

from __future__ import annotations

import sys

from xxhash import xxh3_128_hexdigest

from . import Checkpoint, ReadError, pointers


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m reader CHECKPOINT", file=sys.stderr)
        return 2
    failed = False
    for pointer in pointers(arguments[0]) or [".metadata"]:
        try:
            checkpoint = Checkpoint(arguments[0], pointer)
        except (ReadError, OSError) as error:
            print(f"{pointer}: {type(error).__name__}: {error}")
            return 1
        for name in sorted(checkpoint.metadata.items):
            try:
                if name in checkpoint.tensors:
                    value = checkpoint.tensor(name)
                    print(f"{xxh3_128_hexdigest(value.data)}  {value.dtype} {list(value.shape)}  {name!a}")
                else:
                    print(f"{xxh3_128_hexdigest(checkpoint.object(name))}  object  {name!a}")
            except ReadError as error:
                print(f"{type(error).__name__}: {error}  {name!a}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
