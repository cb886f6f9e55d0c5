"""The drawing of the rooms: of a small made-up package, and whether that of this one is true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from design import rooms
from design.rooms import BEGIN, END, Floor, Room

CONFIG = """
[[tool.importlinter.contracts]]
name = "Something else"
layers = [
    "wrong",
]

[[tool.importlinter.contracts]]
# A comment.
name = "Imports point downwards"
type = "layers"
layers = [
    "roof",
    "left | right",
    "hall : stairs",
    "cellar",
]
"""
FLOORS = [
    Floor(("roof",), apart=False),
    Floor(("left", "right"), apart=True),
    Floor(("hall", "stairs"), apart=False),
    Floor(("cellar",), apart=False),
]
SOURCES = {
    "__init__.py": "from .roof import everything\n",
    "roof.py": "import house.left.door\nimport os\nfrom house import right\n",
    "left/__init__.py": "from . import door\nfrom ..hall import mat\n",
    "left/door.py": "def late():\n    from ..cellar import box\n\n\nfrom .__init__ import bell\n",
    "right/__init__.py": "",
    "right/deep/inside.py": "from ... import version\nfrom ...cellar import box\nfrom ..window import pane\n",
    "right/window.py": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from ..roof import tiles\n"
        "else:\n    import house.hall\n"
    ),
    "hall.py": "from . import cellar as below\n",
    "stairs.py": "from torch import hall\nfrom houses import roof\n",
    "cellar.py": "",
}
IMPORTS = {
    "roof": {"left", "right"},
    "left": {"hall", "cellar"},
    "right": {"cellar", "hall"},
    "hall": {"cellar"},
    "stairs": set(),
    "cellar": set(),
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, source in SOURCES.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path / "house"


def plan(**imports: set[str]) -> dict[str, Room]:
    return {name: Room({f"{name}.py": 1}, others) for name, others in {**IMPORTS, **imports}.items()}


def test_floors_are_those_of_the_lint():
    assert rooms.read_floors(CONFIG) == FLOORS
    with pytest.raises(ValueError, match="no contract"):
        rooms.read_floors(CONFIG.replace("point downwards", "point anywhere"))
    with pytest.raises(ValueError, match="no contract"):
        rooms.read_list(CONFIG, "Something else", "source_modules")


def test_rooms_and_their_imports(package: Path):
    found = rooms.read_rooms(package)
    assert {name: room.imports for name, room in found.items()} == IMPORTS
    assert found["right"].files == {"__init__.py": 0, "deep/inside.py": 3, "window.py": 6}
    assert found["right"].lines == 9
    assert found["roof"].files == {"roof.py": 3}


def test_a_sound_house_has_no_faults(package: Path):
    assert rooms.faults(rooms.read_rooms(package), FLOORS) == []
    assert rooms.faults(plan(stairs={"hall"}), FLOORS) == []


@pytest.mark.parametrize(
    ("imports", "fault"),
    [
        ({"cellar": {"hall"}}, "cellar imports hall, which is above it"),
        ({"stairs": {"roof"}}, "stairs imports roof, which is above it"),
        ({"left": {"right"}}, "left imports right, from which it is kept apart"),
        ({"shed": set()}, "shed has no floor in pyproject.toml"),
        ({"stairs": {"hall"}, "hall": {"stairs"}}, "imports run in a circle: hall -> stairs -> hall"),
    ],
)
def test_faults_are_named(imports: dict[str, set[str]], fault: str):
    found = rooms.faults(plan(**imports), FLOORS)
    # A circle may be told from any of its rooms on.
    assert fault in found or fault.replace("hall -> stairs -> hall", "stairs -> hall -> stairs") in found


def test_a_floor_without_its_room_is_named():
    house = plan()
    del house["stairs"]
    assert rooms.faults(house, FLOORS) == ["stairs has a floor, but isn't there"]


def test_a_circle_is_told_in_the_direction_of_its_imports():
    house = {"a": Room(imports={"b"}), "b": Room(imports={"c"}), "c": Room(imports={"a"}), "d": Room(imports={"a"})}
    circle = rooms.find_circle(house)
    assert circle[0] == circle[-1]
    assert len(circle) == 4
    assert all(other in house[name].imports for name, other in pairwise(circle))


def test_the_drawing(package: Path):
    drawing = rooms.draw(rooms.read_rooms(package), FLOORS)
    text, graph = drawing.split("```mermaid")
    assert text.splitlines() == [
        "```text",
        "roof.py  (3 lines)",
        "    -> left, right",
        "left/  (2 files, 7 lines)",
        "    door 5",
        "    -> cellar, hall",
        "right/  (3 files, 9 lines)",
        "    deep/inside 3, window 6",
        "    -> cellar, hall",
        "hall.py  (1 lines)",
        "    -> cellar",
        "stairs.py  (2 lines)",
        "cellar.py  (0 lines)",
        "```",
        "",
    ]
    arrows = [line.strip() for line in graph.splitlines() if "-->" in line]
    # Without those that another way makes plain, such as left's to the cellar.
    assert arrows == [
        "room_hall --> room_cellar",
        "room_left --> room_hall",
        "room_right --> room_hall",
        "room_roof --> room_left",
        "room_roof --> room_right",
    ]
    assert '        room_left["left/"]' in graph
    assert '    room_cellar["cellar"]' in graph


def test_a_circle_is_drawn_with_all_its_arrows():
    graph = rooms.draw(plan(cellar={"roof"}), FLOORS)
    assert graph.count("-->") == 1 + sum(map(len, IMPORTS.values()))


def test_long_lists_are_wrapped():
    house = {"room": Room({f"a_file_with_a_name_{number}.py": number for number in range(20)})}
    lines = rooms.draw(house, [Floor(("room",), apart=False)]).split("```mermaid")[0].splitlines()
    listed = " ".join(line.strip() for line in lines[2:-2])
    assert listed == ", ".join(f"a_file_with_a_name_{number} {number}" for number in range(20))
    assert max(map(len, lines)) <= 105


@pytest.mark.parametrize("old", ["", "\n\nsomething old\n\n"])
def test_only_the_drawing_is_replaced(old: str):
    note = rooms.put_in(f"before\n\n{BEGIN}{old}{END}\n\nafter\n", "new")
    assert note == f"before\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert rooms.put_in(note, "new") == note


@pytest.mark.parametrize("note", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_note_without_its_marks_is_refused(note: str):
    with pytest.raises(ValueError, match="once each"):
        rooms.put_in(note, "new")


def test_an_old_drawing_fails_the_check(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    note = tmp_path / "note.md"
    note.write_text(f"Text.\n\n{BEGIN}\n{END}\n")
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    monkeypatch.setattr(rooms, "ROOT", tmp_path)
    monkeypatch.setattr(rooms, "PACKAGE", package)
    monkeypatch.setattr(rooms, "NOTE", note)
    assert rooms.main(["--check"]) == 1
    assert capsys.readouterr().err == "note.md is old: run python design/rooms.py\n"
    assert rooms.main([]) == 0
    assert rooms.main(["--check"]) == 0
    (package / "cellar.py").write_text("# One line more.\n")
    assert rooms.main(["--check"]) == 0
    (package / "cellar.py").write_text("from . import roof\n")
    assert rooms.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "cellar imports roof, which is above it" in told
    assert "note.md is old" in told


def test_the_drawing_of_this_package_is_true(capsys: pytest.CaptureFixture[str]):
    assert rooms.main(["--check"]) == 0, capsys.readouterr().err


def test_the_lint_keeps_torch_out_of_every_room_but_nine():
    """A room that nobody lists is one that may import anything."""
    config = (rooms.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = "Only __main__, cli, background, formats, trainers, api, saving, loading and dcp know torch"
    listed = rooms.read_list(config, contract, "source_modules")
    every = {f"dcpx.{name}" for name in rooms.read_rooms(rooms.PACKAGE)}
    assert every - set(listed) == {
        f"dcpx.{room}"
        for room in ("__main__", "cli", "background", "formats", "trainers", "api", "saving", "loading", "dcp")
    }
    assert set(listed) <= every
