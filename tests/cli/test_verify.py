"""`dcpx verify` and `dcpx latest`: the exit status, what is damaged, and what dead saves have left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dcpx
from tests.cli.conftest import Run


def damaged(saved: Path, folder: Path) -> Path:
    """A copy with a bit of one tensor's data flipped."""
    copy = shutil.copytree(saved / "step-2", folder)
    (item,) = (one for one in dcpx.inspect(copy).items if one.name == "model.embed")
    file = copy / item.parts[0].file
    data = bytearray(file.read_bytes())
    data[item.parts[0].at + item.parts[0].stored // 2] ^= 4
    file.write_bytes(data)
    return copy


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["step-1", "stock"])
def test_whole(name: str, quick: bool, saved: Path, run: Run):
    done = run("verify", saved / name, *(["--quick"] if quick else []))
    assert "is whole: 11 items" in done.stdout
    assert ("wasn't read" in done.stdout) == quick


def test_damaged(saved: Path, tmp_path: Path, run: Run):
    copy = damaged(saved, tmp_path / "c")
    done = run("verify", copy, status=1)
    assert "is damaged: 10 of 11 items can be loaded" in done.stdout
    assert "item 'model.embed', chunk" in done.stdout
    found = json.loads(run("verify", copy, "--json", status=1).stdout)
    assert found["verdict"] == "damaged"
    assert found["lost"] == ["model.embed"]
    assert found["problems"][0]["error"] == "CorruptError"
    run("verify", copy, "--quick")  # which reads nothing of it


@pytest.mark.parametrize("name", ["step-1", "stock"])
def test_a_file_that_is_short_is_seen_quickly(name: str, saved: Path, tmp_path: Path, run: Run):
    copy = shutil.copytree(saved / name, tmp_path / "c")
    file = next(copy.glob("*.distcp"))
    file.write_bytes(file.read_bytes()[:-1])
    assert "too early" in run("verify", copy, "--quick", status=1).stdout


def test_a_file_that_is_gone_or_longer(saved: Path, tmp_path: Path, run: Run):
    copy = shutil.copytree(saved / "step-1", tmp_path / "c")
    file = next(copy.glob("*.distcp"))
    with file.open("ab") as output:
        output.write(b"x")
    run("verify", copy, "--quick", status=1)
    file.unlink()
    run("verify", copy, "--quick", status=1)
    run("verify", copy, status=1)


def test_no_checkpoint(tmp_path: Path, run: Run):
    assert "there is no checkpoint" in run("verify", tmp_path, status=2).stderr


def test_what_dead_saves_have_left(saved: Path, tmp_path: Path, run: Run):
    copy = shutil.copytree(saved / "step-1", tmp_path / "c")
    left = copy / "11111111-2222-3333-4444-555555555555__0_0.distcp"
    left.write_bytes(b"x" * 1000)
    assert left.name in run("verify", copy).stdout
    done = run("verify", copy, "--clean")
    assert "left by the save 11111111-2222-3333-4444-555555555555" in done.stderr
    assert left.exists(), "nobody can tell whether another machine is still at it"
    os.utime(left, (1, 1))
    done = run("verify", copy, "--clean")
    assert "removed 1 files" in done.stderr
    assert not left.exists()
    run("verify", copy)


def test_latest(saved: Path, tmp_path: Path, run: Run):
    for step, name in ((1, "a"), (2, "z/step-2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copytree(saved / f"step-{step}", tmp_path / name)
    assert run("latest", tmp_path).stdout.strip() == str(tmp_path / "z" / "step-2")
    damaged(saved, tmp_path / "z" / "step-3")  # of the same step, and written later
    done = run("latest", tmp_path)
    assert done.stdout.strip() == str(tmp_path / "z" / "step-2")
    assert "step-3" in done.stderr or "is damaged" not in done.stderr
    shutil.rmtree(tmp_path / "z")
    assert run("latest", tmp_path).stdout.strip() == str(tmp_path / "a")
    (tmp_path / "a" / ".metadata").write_bytes(b"")
    done = run("latest", tmp_path, status=2)
    assert "no whole checkpoint below" in done.stderr
    assert done.stdout == ""


def test_latest_by_the_number_in_a_name(saved: Path, tmp_path: Path, run: Run):
    for step in (9, 10):
        shutil.copytree(saved / "stock", tmp_path / f"epoch=0-step={step}")
    assert json.loads(run("latest", tmp_path, "--quick", "--json").stdout)["step"] == 10


def test_latest_through_links_and_odd_names(saved: Path, tmp_path: Path, run: Run):
    odd = tmp_path / "run" / "a\x1b[31m\nb"
    odd.mkdir(parents=True)
    shutil.copytree(saved / "step-2", odd / "c")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "last").symlink_to(saved / "step-1")
    (tmp_path / "linked" / "loop").symlink_to(tmp_path)
    assert run("latest", tmp_path / "run").stdout == f"{odd / 'c'}\n"
    assert json.loads(run("latest", tmp_path / "linked", "--json").stdout)["step"] == 2
    (tmp_path / "linked" / "loop").unlink()
    assert run("latest", tmp_path / "linked").stdout == f"{tmp_path / 'linked' / 'last'}\n"
    assert "path is empty" in run("latest", "", status=2).stderr


def test_a_first_save_that_goes_on_and_that_died(tmp_path: Path, run: Run):
    script = "import time, torch, torch.distributed.checkpoint, dcpx\n"
    script += "class Slow(torch.distributed.checkpoint.DefaultSavePlanner):\n"
    script += "    def resolve_data(self, item):\n"
    script += "        print('going on', flush=True); time.sleep(600)\n"
    script += f"dcpx.save({{'x': torch.ones(3)}}, {str(tmp_path / 'c')!r}, planner=Slow())\n"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "going on" in process.stdout.readline()
    for command in (["inspect"], ["verify"], ["verify", "--quick"]):
        assert "a save is going on" in run(command[0], tmp_path / "c", *command[1:], status=2).stderr
    done = run("verify", tmp_path / "c", "--clean", status=2)
    assert "removed 0 files" in done.stderr
    process.kill()
    process.wait(30)
    assert "a save that never ended" in run("verify", tmp_path / "c", status=2).stderr
    done = run("verify", tmp_path / "c", "--clean", status=2)
    assert "which is dead" in done.stderr
    assert os.listdir(tmp_path / "c") == []


def test_a_file_of_weights(tmp_path: Path, run: Run):
    (tmp_path / "x.pt").write_bytes(b"PK")
    for command in ("inspect", "verify", "stats", "estimate"):
        assert "it is a file" in run(command, tmp_path / "x.pt", status=2).stderr
