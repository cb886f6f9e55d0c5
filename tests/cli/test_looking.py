"""`dcpx inspect`, `stats` and `estimate` of what is damaged, large, or has names that are hard to show, in narrow
terminals and in the wide."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import dcpx
from tests.cli.conftest import COMMAND, Run
from tests.cli.test_manners import in_terminal
from tests.support.files import data_file, flip, stored


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole`; `flipped`, one of whose three tensors has a flipped bit; and `gone`, whose data file is missing."""
    folder = tmp_path_factory.mktemp("damaged")
    torch.manual_seed(0)
    dcpx.save({name: torch.randn(300, 300) for name in "abc"}, folder / "whole", sync=False)
    shutil.copytree(folder / "whole", folder / "flipped")
    info = stored(folder / "flipped")["b"]
    flip(data_file(folder / "flipped"), info.offset + info.length // 2)
    shutil.copytree(folder / "whole", folder / "gone")
    data_file(folder / "gone").unlink()
    return folder


@pytest.mark.parametrize("command", ["stats", "estimate"])
@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_what_can_not_be_read_is_said(command: str, more: list[str], damaged: Path, run: Run):
    assert run(command, damaged / "whole", *more).stderr == ""
    done = run(command, damaged / "flipped", *more, status=1)
    assert len(done.stderr.splitlines()) == 1
    assert "1 tensor is damaged" in done.stderr
    assert "item 'b'" in done.stderr
    done = run(command, damaged / "gone", *more, status=1)
    assert "3 tensors are damaged" in done.stderr
    assert "the file is missing" in done.stderr


def test_what_is_no_damage_has_another_status(tmp_path: Path, run: Run):
    dcpx.save({"q": torch.quantize_per_tensor(torch.ones(9), 0.1, 0, torch.qint8), "x": torch.ones(9)}, tmp_path / "c")
    done = run("stats", tmp_path / "c", status=2)
    assert "1 tensor can't be read; the first: elements of torch.qint8 are no numbers" in done.stderr
    run("stats", tmp_path / "c", "x")


def test_an_estimate_says_what_it_leaves_out(damaged: Path, run: Run):
    lines = run("estimate", damaged / "gone", status=1).stdout.splitlines()
    assert lines[-1].split() == ["left", "out", "1.08", "MB"]
    assert "left out" not in run("estimate", damaged / "whole").stdout


def test_an_estimate_for_people(damaged: Path, run: Run):
    lines = run("estimate", damaged / "whole").stdout.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == [
        *("dtype", "level", "bytes", "stored", "ratio", "encode s", "decode s", "encoded", "decoded")
    ]
    cells = re.split(r"\s{2,}", lines[2])
    assert cells[:3] == ["all", "fast", "1.08 MB"]
    assert all(re.fullmatch(r"\d+\.?\d* [kMG]B/s", cell) for cell in cells[-2:])
    exact = run("estimate", damaged / "whole", "--bytes").stdout.splitlines()
    assert re.split(r"\s{2,}", exact[2])[2] == "1,080,000"
    level = json.loads(run("estimate", damaged / "whole", "--json").stdout)["levels"][0]
    assert set(level) >= {"encode_seconds", "decode_seconds", "encode_rate", "decode_rate"}


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("awkward")
    names = ["", "  ", " a ", "模型" * 12 + ".重み", "🙂" * 20, "plain.weight", ".".join(["deep"] * 40)]
    dcpx.save({name: torch.randn(40, 50) for name in names}, folder / "1", user={"note": "模型 " * 30}, sync=False)
    dcpx.save({name: torch.randn(40, 50) for name in names}, folder / "2", sync=False)
    return folder


def cells(text: str) -> int:
    return sum(2 if ord(one) > 0x2E7F else 1 for one in text)


@pytest.mark.parametrize("columns", [20, 40, 80, 0])
@pytest.mark.parametrize("command", ["inspect 1", "inspect 1 --items", "inspect 1 --depth 50", "stats 1", "diff 1 2"])
def test_a_narrow_terminal(command: str, columns: int, awkward: Path, environment: dict[str, str]):
    arguments = [sys.executable, str(COMMAND), *command.split()]
    arguments = [str(awkward / one) if one in "12" else one for one in arguments]
    shown = in_terminal(arguments, {**environment, "TERM": "xterm", "NO_COLOR": "1"}, columns)
    lines = shown.rpartition("\x1b[?25h")[2].splitlines()  # behind the progress bar
    assert max(map(cells, lines)) <= (columns or 80), lines
    assert not [line for line in lines if line.strip().startswith(("… ", "…\n")) or line.strip() == "…"]
    assert "".join(lines).count("'  '") == ("depth" not in command or 1)
    (title,) = (line.split() for line in lines if re.match(r"(name|tensor|item)\b", line))
    if columns == 40:
        wanted = {"inspect": {"size"}, "stats": {"max"}, "diff": {"changed", "max"}}[command.split()[0]]
        assert wanted <= set(title)


def test_names_that_seem_to_be_none(awkward: Path, run: Run):
    for arguments in (["inspect", awkward / "1", "--items"], ["stats", awkward / "1"], ["inspect", awkward / "1"]):
        lines = run(*arguments).stdout.splitlines()
        assert [line[:5] for line in lines if line.startswith("'")] == ["''   ", "'  ' ", "' a '"]


def test_many_siblings_are_one_row(tmp_path: Path, run: Run):
    dcpx.save({f"flat{number}": torch.ones(3) for number in range(300)} | {"x": 1}, tmp_path / "c", sync=False)
    lines = run("inspect", tmp_path / "c").stdout.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("flat"))
    assert row[:4] == ["flat[0-299]", "300", "float32", "3"]
    assert len(lines) < 8


def test_many_rows_are_cut(tmp_path: Path, run: Run):
    names = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(100, 400)]
    dcpx.save({name: torch.ones(3) for name in names}, tmp_path / "c", sync=False)
    lines = run("inspect", tmp_path / "c").stdout.splitlines()
    assert lines[-1] == "and 260 more rows: --depth 1 shows all of them"
    assert len(lines) < 46
    assert len(run("inspect", tmp_path / "c", "--depth", "1").stdout.splitlines()) > 300
    assert len(run("inspect", tmp_path / "c", "--items").stdout.splitlines()) > 300


def test_the_codec_of_one_of_very_many(tmp_path: Path, run: Run):
    dcpx.save({f"w{number}": torch.ones(1) for number in range(10_001)}, tmp_path / "c", sync=False)
    assert "stream.pack" in run("inspect", tmp_path / "c").stdout
    lines = run("inspect", tmp_path / "c", "--filter", "w77").stdout.splitlines()
    assert lines[-1].split()[-2:] == ["raw", "1"]
    assert "1 tensor of 1 elements" in "".join(lines)


def test_a_glob_with_brackets(tmp_path: Path, run: Run):
    dcpx.save({"a[0]": torch.ones(3)}, tmp_path / "c", sync=False)
    error = run("stats", tmp_path / "c", "a[0]", status=2).stderr
    assert "no name matches 'a[0]'; the nearest are 'a[0]'" in error
    assert "[[] stands for itself" in error
    assert "a[0]" in run("stats", tmp_path / "c", "a[[]0]").stdout
    assert "no name matches ''" in run("stats", tmp_path / "c", "", status=2).stderr


def test_a_report_of_damaged_checkpoints(damaged: Path, tmp_path: Path, run: Run):
    paths = [damaged / name for name in ("gone", "flipped", "whole")]
    done = run("report", *paths, "-o", tmp_path / "x.html")
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dcpx: the page tells of 5 problems; the first: the file is missing (file '")
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count("the file is missing") == 4
    assert "item 'b'" in page
    assert run("report", damaged / "whole", "-o", tmp_path / "x.html").stderr == ""


def test_output_that_is_not_utf8(awkward: Path, run: Run):
    """A page is UTF-8 in any case."""
    done = run("report", awkward / "1", "-o", "-", text=False, variables={"PYTHONIOENCODING": "ascii"})
    assert "模型".encode() in done.stdout
    assert done.stdout.decode("utf-8").startswith("<!DOCTYPE html>")
