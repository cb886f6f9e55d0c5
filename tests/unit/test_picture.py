"""The picture of the rooms: of a made-up package, and whether that of this one is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from design import picture

CONFIG = f"""
[[tool.importlinter.contracts]]
name = "Imports point downwards"
layers = [
    "roof",
    "left | right",
]

[[tool.importlinter.contracts]]
name = "{picture.WITHOUT_TORCH}"
source_modules = [
    "house.left",
    "house.right",
]
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "house"
    (package / "left").mkdir(parents=True)
    for name in ("__init__.py", "roof.py", "left/__init__.py", "right.py"):
        (package / name).touch()
    return package


def test_a_floor_a_line_and_what_knows_torch_in_another_colour(package: Path):
    boxes = re.findall(
        r'<rect x="[\d.]+" y="(\d+)"[^>]* fill="([^"]+)"[^>]*/><text[^>]*>([^<]+)<', picture.draw(package, CONFIG)
    )
    (roof, left, right) = boxes
    assert (roof[1:], left[1:], right[1:]) == (
        (picture.TORCH, "roof"),
        (picture.PLAIN, "left/"),
        (picture.PLAIN, "right"),
    )
    assert int(roof[0]) < int(left[0]) == int(right[0])


def test_an_old_picture_is_noticed(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    monkeypatch.setattr(picture, "ROOT", tmp_path)
    monkeypatch.setattr(picture, "PACKAGE", package)
    monkeypatch.setattr(picture, "PICTURE", tmp_path / "rooms.svg")
    assert picture.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/rooms.svg is old: run python -m design.picture\n"
    assert picture.main([]) == 0
    assert picture.main(["--check"]) == 0
    (tmp_path / "pyproject.toml").write_text(CONFIG.replace("left | right", "right | left"))
    assert picture.main(["--check"]) == 1


def test_the_picture_of_this_package_is_true(capsys: pytest.CaptureFixture[str]):
    assert picture.main(["--check"]) == 0, capsys.readouterr().err
