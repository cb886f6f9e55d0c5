"""How long a search takes with 100,000 definitions, in Python and in node, which runs what a browser runs.

``python bench/search.py``, with pagedex installed and node on PATH. Definitions are made of parts of real names; each
query is typed letter by letter, as in the search's box, and each key press is timed.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from pagedex.search.index import SCRIPTS, Index, to_scripts
from pagedex.search.ranking import search

DEFINITIONS, FILES, USED, STEMS = 100_000, 5_000, 60_000, 20_000
PARTS = (
    "read write load save check chunk item store frame codec tensor shard rank plan state dict meta data file path "
    "open close block stream buffer index key value name type size shape list group process device host copy move "
    "async wait lock"
).split()
QUERIES = (
    "ChunkReader",
    "load_state_dict",
    "write metadata",
    "tnesor shard",
    "zzqqx",
    "asyncbufferlock",
    "read file lock",
)

IN_NODE = """
const fs = require("fs");
const [program, folder, ...scripts] = process.argv.slice(1);
const search = require(program);
let began = performance.now();
for (const name of scripts) (0, eval)(fs.readFileSync(`${folder}/${name}`, "utf8"));
const load = performance.now() - began;
began = performance.now();
search.search("warm", 30);
const first = performance.now() - began;
const times = JSON.parse(fs.readFileSync(0, "utf8")).map((query) => {
  began = performance.now();
  search.search(query, 30);
  return performance.now() - began;
});
process.stdout.write(JSON.stringify({ load, first, times }));
"""


def synthetic() -> Index:
    draw = random.Random(1)
    index = Index(kinds=["function", "class", "method"])
    names: dict[str, int] = {}

    def name() -> int:
        parts = [draw.choice(PARTS) for _ in range(draw.randint(1, 4))]
        text = "".join(map(str.title, parts)) if draw.random() < 0.3 else "_".join(parts)
        return names.setdefault(text + ("" if draw.random() < 0.5 else str(draw.randrange(1000))), len(names))

    index.files = [f"package{at % 50}/module{at % 700}/file{at}.py" for at in range(FILES)]
    index.tests = [int(at % 3 == 0) for at in range(FILES)]
    index.f_name = [name() for _ in range(FILES)]
    for at in range(DEFINITIONS):
        index.d_name.append(name())
        index.d_kind.append(at % 3)
        index.d_file.append(at * FILES // DEFINITIONS)
        index.d_line.append(at % 900 + 1)
        index.d_parent.append(at - 1 if at % 3 == 2 else -1)
        index.d_uses.append(draw.randrange(100))
        index.d_public.append(at % 2)
    index.names = list(names)
    index.used_names = [f"used_{draw.choice(PARTS)}_{at}" for at in range(USED)]
    index.u_name = [len(names) + at for at in range(USED)]
    index.u_file = sorted(draw.randrange(FILES) for _ in range(USED))
    index.u_line = [1] * USED
    index.u_count = [1] * USED
    index.stems = sorted({f"{draw.choice(PARTS)}{at}" for at in range(STEMS)})
    index.s_files = [[v for f in sorted(draw.sample(range(FILES), 20)) for v in (f, 1)] for _ in index.stems]
    return index


def main() -> None:
    index = synthetic()
    presses = [query[:length] for query in QUERIES for length in range(1, len(query) + 1)]
    scripts = to_scripts(index)
    print(
        f"{len(index.d_name):,} definitions, {len(index.u_name):,} used names, "
        f"{sum(map(len, scripts.values())):,} bytes"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, content in scripts.items():
            (Path(folder) / name).write_bytes(content)
        program = Path(folder) / "search.js"
        program.write_bytes((files("pagedex.output") / "assets" / "search.js").read_bytes())
        ran = subprocess.run(
            ["node", "-e", IN_NODE, "--", str(program), folder, *SCRIPTS],
            input=json.dumps(presses),
            capture_output=True,
            text=True,
            check=True,
        )
    said = json.loads(ran.stdout)
    print(f"node: load {said['load']:.0f} ms, first search {said['first']:.0f} ms")
    show("node", said["times"], presses)
    times = []
    for press in presses[:: len(presses) // 8]:
        began = time.perf_counter()
        search(index, press, 30)
        times.append((time.perf_counter() - began) * 1000)
    print(f"Python: median {statistics.median(times):.0f} ms")


def show(who: str, times: list[float], presses: list[str]) -> None:
    ordered = sorted(times)
    slowest = sorted(zip(times, presses, strict=True), reverse=True)[:5]
    print(
        f"{who}: a key press takes {statistics.median(ordered):.1f} ms (median), "
        f"{ordered[int(len(ordered) * 0.95)]:.1f} "
        f"(19 of 20), {ordered[-1]:.1f} (all); slowest " + ", ".join(f"{press!r} {took:.0f}" for took, press in slowest)
    )


if __name__ == "__main__":
    main()
