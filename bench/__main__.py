"""`python -m bench NAME [--out FILE]`: run one benchmark, print its table and write its rows as JSON.

The peers come with `pip install '.[bench]'`, the weights with `make demo`; `make bench` does all of it. Beside these,
`python -m bench.check` holds sizes against the committed results, `python -m bench.mpnet` fetches the weights of a
larger model, and `python -m bench.tables` writes the tables of the guides.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import os
import platform
from pathlib import Path

NAMES = ("codec", "memory", "checkpoint", "metadata", "stores", "convert", "background", "ranks", "cli", "scale")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="\n".join(["what each of them asks:", *(f"  {name:<12}{_question(name)}" for name in NAMES)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME", help="one of those below")
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    parser.add_argument("--sections", type=lambda names: names.split(","), help="these only, as in disk/large,store")
    parser.add_argument("--rounds", type=int, help="how often each figure is measured, once at least")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        run = importlib.import_module(f"bench.{options.name}").run
    except ModuleNotFoundError as error:
        parser.exit(1, f"{error.name} can't be imported, which {options.name} needs: pip install '.[bench,demo]'\n")
    chosen = {key: value for key in ("sections", "rounds") if (value := getattr(options, key)) is not None}
    for key in chosen:
        if key not in inspect.signature(run).parameters:
            parser.error(f"{options.name} takes no --{key}")
    rows = run(**chosen)
    if options.out is not None:
        found = {"bench": options.name, "python": platform.python_version(), **_machine(), "rows": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def _question(name: str) -> str:
    """The first line of what the benchmark says of itself, without importing what it needs."""
    said = ast.get_docstring(ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")))
    return (said or "").partition("\n")[0]


def _machine() -> dict[str, object]:
    """The processor that it ran on, and how many of its cores."""
    said = Path("/proc/cpuinfo")
    lines = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    widest = next((name for name in ("avx512bw", "avx2", "asimd") if name in flags), "")
    cores = len(os.sched_getaffinity(0))
    return {"processor": names[0] if names else platform.machine(), "instructions": widest, "cores": cores}


if __name__ == "__main__":
    main()
