"""Draws the rooms of `src/dcpx` and who imports whom, from the imports themselves, into the note on the rooms.

    python design/rooms.py            # draw them anew
    python design/rooms.py --check    # fail if the drawing is old, an import runs upwards, or imports run in a circle

The floors are those of the lint's contract in pyproject.toml. A room is a folder of the package, or a module beside the
folders; imports for type checkers only don't count. Lines, which every change moves, are as of the last drawing: they
make none old.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "dcpx"
NOTE = ROOT / "design" / "0005-rooms.md"
CONTRACT = "Imports point downwards"
BEGIN, END = "<!-- drawn by design/rooms.py -->", "<!-- end of the drawing -->"


@dataclass
class Room:
    """Python files with their lines, and the other rooms that they import, those that lie in the package only."""

    files: dict[str, int] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)

    @property
    def lines(self) -> int:
        return sum(self.files.values())


@dataclass(frozen=True)
class Floor:
    """Rooms beside one another. Where they are `apart`, none may import another."""

    rooms: tuple[str, ...]
    apart: bool


def read_list(config: str, contract: str, key: str) -> list[str]:
    """The list that the lint's contract of this name has under a key. ValueError if it isn't there."""
    found = re.search(rf'^name = "{re.escape(contract)}"$(.*?)(?:^\[|\Z)', config, re.DOTALL | re.MULTILINE)
    listed = re.search(rf"^{key} = (\[.*?^\])", found.group(1), re.DOTALL | re.MULTILINE) if found else None
    if listed is None:
        raise ValueError(f"there is no contract {contract!r} with {key}")
    names: list[str] = ast.literal_eval(listed.group(1))  # a list of strings in TOML is one in Python as well
    return names


def read_floors(config: str) -> list[Floor]:
    """The floors of the contract, the top one first. ValueError if the contract isn't there."""
    layers = read_list(config, CONTRACT, "layers")
    return [Floor(tuple(re.split(r"\s*[|:]\s*", layer)), apart="|" in layer) for layer in layers]


def read_rooms(package: Path) -> dict[str, Room]:
    """The rooms of the package in this folder. Its own `__init__`, the door, is none: what it hands out, it imports
    when it is asked for."""
    paths = [path for path in sorted(package.rglob("*.py")) if path != package / "__init__.py"]
    names = {path.relative_to(package).parts[0].removesuffix(".py") for path in paths}
    rooms = {name: Room() for name in sorted(names)}
    for path in paths:
        parts = path.relative_to(package).parts
        name = parts[0].removesuffix(".py")
        source = path.read_text(encoding="utf-8")
        room = rooms[name]
        room.files["/".join(parts[1:]) or parts[0]] = len(source.splitlines())
        inside = (package.name, *parts[:-1])
        for module in _imported(ast.parse(source), inside):
            if module[0] == package.name and len(module) > 1 and module[1] in names - {name}:
                room.imports.add(module[1])
    return rooms


def _imported(tree: ast.Module, inside: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The parts of each name that a module of this folder imports."""
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*module, alias.name) for alias in node.names)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below that one, without what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *_run(other))
            continue
        yield child
        yield from _run(child)


def faults(rooms: Mapping[str, Room], floors: Sequence[Floor]) -> list[str]:
    """What is wrong with the house: rooms without a floor, imports upwards or across a wall, and circles."""
    heights = {name: height for height, floor in enumerate(reversed(floors)) for name in floor.rooms}
    found = [f"{name} has no floor in pyproject.toml" for name in rooms if name not in heights]
    found += [f"{name} has a floor, but isn't there" for name in heights if name not in rooms]
    apart = {name for floor in floors if floor.apart for name in floor.rooms}
    for name, room in rooms.items():
        for other in sorted(room.imports):
            if heights.get(other, 0) > heights.get(name, 0):
                found.append(f"{name} imports {other}, which is above it")
            elif heights.get(other) == heights.get(name) and other in apart:
                found.append(f"{name} imports {other}, from which it is kept apart")
    circle = find_circle(rooms)
    if circle:
        found.append(f"imports run in a circle: {' -> '.join(circle)}")
    return found


def find_circle(rooms: Mapping[str, Room]) -> list[str]:
    """Rooms each of which imports the next one, the last one being the first; nothing where there is no circle."""
    try:
        TopologicalSorter({name: room.imports for name, room in rooms.items()}).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names[::-1]
    return []


def draw(rooms: Mapping[str, Room], floors: Sequence[Floor]) -> str:
    """The drawing, in Markdown: what is in which room, from the top floor down, and a graph of the imports."""
    order = [name for floor in floors for name in floor.rooms if name in rooms]
    order += [name for name in rooms if name not in order]
    return "\n\n".join((_table(rooms, order), _graph(rooms, floors)))


def _table(rooms: Mapping[str, Room], order: Iterable[str]) -> str:
    rows = ["```text"]
    for name in order:
        room = rooms[name]
        if tuple(room.files) == (f"{name}.py",):
            rows.append(f"{name}.py  ({room.lines} lines)")
        else:
            rows.append(f"{name}/  ({len(room.files)} files, {room.lines} lines)")
            modules = {file.removesuffix(".py"): lines for file, lines in room.files.items() if file != "__init__.py"}
            rows += _wrapped(f"{module} {lines}" for module, lines in modules.items())
        if room.imports:
            rows += _wrapped(sorted(room.imports), first="    -> ", rest="       ")
    return "\n".join((*rows, "```"))


def _wrapped(words: Iterable[str], *, first: str = "    ", rest: str = "    ", width: int = 100) -> list[str]:
    """Words with commas between them, in lines."""
    lines = [""]
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(joined) > width and lines[-1]:
            lines[-1] += ","
            lines.append(word)
        else:
            lines[-1] = joined
    return [(rest if number else first) + line for number, line in enumerate(lines) if line]


def _graph(rooms: Mapping[str, Room], floors: Sequence[Floor]) -> str:
    """Mermaid's. An arrow is left out where there is a way round, unless imports run in a circle."""
    lines = ["```mermaid", "flowchart TD"]
    for number, floor in enumerate(floors):
        there = [name for name in floor.rooms if name in rooms]
        if len(there) > 1:
            lines += [
                f'    subgraph floor{number}[" "]',
                *(f"        {_node(name, rooms)}" for name in there),
                "    end",
            ]
        else:
            lines += [f"    {_node(name, rooms)}" for name in there]
    reached = {} if find_circle(rooms) else _reached(rooms)
    for name, room in rooms.items():
        round_about = {far for near in room.imports for far in reached.get(near, ())}
        lines += [f"    {_id(name)} --> {_id(other)}" for other in sorted(room.imports - round_about)]
    return "\n".join((*lines, "```"))


def _node(name: str, rooms: Mapping[str, Room]) -> str:
    folder = tuple(rooms[name].files) != (f"{name}.py",)
    return f'{_id(name)}["{name}{"/" if folder else ""}"]'


def _id(name: str) -> str:
    """`end`, `graph` and others are words of Mermaid's."""
    return f"room_{name.strip('_')}"


def _reached(rooms: Mapping[str, Room]) -> dict[str, set[str]]:
    """All rooms that each one imports, or that are imported by those. There must be no circle."""
    reached: dict[str, set[str]] = {}
    for name in TopologicalSorter({name: room.imports for name, room in rooms.items()}).static_order():
        imports = rooms[name].imports
        reached[name] = imports.union(*(reached[other] for other in imports))
    return reached


def put_in(note: str, drawing: str) -> str:
    """The note with this drawing between its marks. ValueError if it hasn't both, once each and in this order."""
    before, begin, rest = note.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in old + after or END in before + after:
        raise ValueError(f"a note needs {BEGIN!r} and {END!r} once each, for the drawing between them")
    return f"{before}{BEGIN}\n\n{drawing}\n\n{END}{after}"


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "", text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draws the rooms of src/dcpx into design/0005-rooms.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail unless the drawing is true")
    check: bool = parser.parse_args(arguments).check
    rooms, floors = read_rooms(PACKAGE), read_floors((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    note = NOTE.read_text(encoding="utf-8")
    drawn = put_in(note, draw(rooms, floors))
    if not check:
        NOTE.write_text(drawn, encoding="utf-8")
        return 0
    found = faults(rooms, floors)
    if _without_numbers(drawn) != _without_numbers(note):
        found.append(f"{NOTE.relative_to(ROOT)} is old: run python design/rooms.py")
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
