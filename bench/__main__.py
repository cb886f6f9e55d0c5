"""`python -m bench NAME [--out FILE]`: run one benchmark, print its table and write its rows as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from pathlib import Path

NAMES = ("codec", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    options = parser.parse_args()
    rows = importlib.import_module(f"bench.{options.name}").run()
    if options.out is not None:
        found = {"bench": options.name, "python": platform.python_version(), "rows": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
