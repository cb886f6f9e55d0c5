"""`dcpx inspect`: what it prints of checkpoints of both kinds, sorted, filtered, as a tree and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import dcpx
from tests.cli.conftest import Run


@pytest.mark.parametrize("name", ["step-1", "stock"])
def test_a_tree_of_modules(name: str, saved: Path, run: Run):
    lines = run("inspect", saved / name).stdout.splitlines()
    assert lines[0].startswith(f"{saved / name}: {'stock' if name == 'stock' else 'dcpx'} checkpoint")
    assert "10 tensors of" in "".join(lines)
    found = {line.split()[0]: line.split() for line in lines if len(line.split()) > 3}
    assert found["layers.[0-3]"][1] == "8", "layers that are alike are one row"
    assert "bfloat16," in found["layers.[0-3]"]
    assert "300x48" in found["embed"]


def test_what_the_manifest_says(saved: Path, run: Run):
    head = run("inspect", saved / "step-2").stdout.splitlines()[:3]
    summary = dcpx.inspect(saved / "step-2")
    assert str(summary.uuid) in head[0]
    assert f"torch {torch.__version__}" in head[0]
    assert head[1] == "step: 2"


def test_items_sorted_and_filtered(saved: Path, run: Run):
    lines = run("inspect", saved / "step-1", "--sort", "size", "--bytes").stdout.splitlines()
    rows = [line.split() for line in lines[lines.index("") + 2 :]]
    assert rows[0][0] == "model.embed"
    sizes = [int(row[3].replace(",", "")) for row in rows if row[1] != "object"]
    assert sizes == sorted(sizes, reverse=True)
    lines = run("inspect", saved / "step-1", "--filter", "*.bias", "--items").stdout.splitlines()
    names = [line.split()[0] for line in lines[lines.index("") + 2 :]]
    assert names == [f"model.layers.{number}.bias" for number in range(4)]
    done = run("inspect", saved / "step-1", "--filter", "*.weigth", status=2)
    assert "no name matches '*.weigth'; the nearest are" in done.stderr
    assert done.stdout == ""


def test_json(saved: Path, run: Run):
    for name in ("step-1", "stock"):
        found = json.loads(run("inspect", saved / name, "--json").stdout)
        assert found == json.loads(json.dumps(dcpx.inspect(saved / name).to_json()))
        assert found["schema"] == "dcpx.inspect/1"
        by_name = {item["name"]: item for item in found["items"]}
        embed = by_name["model.embed"]
        assert (embed["dtype"], embed["shape"], embed["nbytes"]) == ("float32", [300, 48], 300 * 48 * 4)
        (part,) = embed["parts"]
        assert (part["offsets"], part["rank"], part["stored"]) == (
            [0, 0],
            0,
            embed["stored"],
        )
        assert part["codec"] == ("float" if name == "step-1" else None)
        assert by_name["step"]["kind"] == "object"
        file = Path(saved / name / part["file"]).read_bytes()
        assert len(file) >= part["at"] + part["stored"]


def test_a_notebook_shows_a_table(saved: Path):
    shown = dcpx.inspect(saved / "step-1")._repr_html_()
    assert '<td style="text-align:left">model.embed</td>' in shown


def test_no_checkpoint_and_half_of_one(saved: Path, tmp_path: Path, run: Run):
    assert "there is no checkpoint here" in run("inspect", tmp_path / "none", status=2).stderr
    half = shutil.copytree(saved / "step-1", tmp_path / "half")
    (half / ".metadata").unlink()
    assert "restore_pointer" in run("inspect", half, status=2).stderr
    part = shutil.copytree(saved / "step-1", tmp_path / "part")
    next(part.glob("*.distcp")).unlink()
    done = run("inspect", part)
    assert "model" in done.stdout, "what the metadata says is there"
    assert "the file is missing" in done.stderr
    cut = shutil.copytree(saved / "step-1", tmp_path / "cut")
    (cut / ".metadata").write_bytes((cut / ".metadata").read_bytes()[:-9])
    run("inspect", cut, status=2)


def test_a_manifest_that_is_lost(saved: Path, tmp_path: Path, run: Run):
    part = shutil.copytree(saved / "step-1", tmp_path / "c")
    next(part.glob("*.manifest.json")).unlink()
    done = run("inspect", part)
    assert "the manifest is missing" in done.stderr
    assert "dcpx checkpoint" in done.stdout


def test_names_that_a_terminal_would_obey(tmp_path: Path, run: Run):
    names = {
        "\x1b[31mred": torch.ones(3),
        "a\nb": torch.ones(3),
        "back\\slash": torch.ones(3),
        "\u202eright": torch.ones(3),
        "<b>markup</b> [red]x[/red]": torch.ones(3),
        "": torch.ones(3),
        "wide 模型": torch.ones(3),
    }
    dcpx.save(names, tmp_path / "c", user={"note": "\x1b]0;title\x07"})
    for arguments in (("--items",), (), ("--json",)):
        shown = run("inspect", tmp_path / "c", *arguments).stdout
        assert not set(shown) & {"\x1b", "\x07", "\u202e"}
        assert "<b>markup</b> [red]x[/red]" in shown
    assert "\\x1b[31mred" in run("inspect", tmp_path / "c", "--items").stdout
    assert "wide 模型" in run("inspect", tmp_path / "c", "--items").stdout


def test_names_with_many_dots_and_twice(tmp_path: Path, run: Run):
    dcpx.save(
        {"." * 5000: torch.ones(2), "a": torch.ones(2), "a.b": torch.ones(2), "a..c": torch.ones(2)}, tmp_path / "c"
    )
    assert "4 tensors" in run("inspect", tmp_path / "c", "--depth", "70").stdout


def test_each_rank_its_own(tmp_path: Path, run: Run):
    for rank in (0, 1):
        dcpx.save({"w": torch.full((4,), float(rank))}, tmp_path / "c", use_collectives=False, overwrite=rank > 0)
    found = dcpx.inspect(tmp_path / "c")
    assert {item.own_rank for item in found.items} <= {0, 1, None}
    assert "w" in run("inspect", tmp_path / "c").stdout
