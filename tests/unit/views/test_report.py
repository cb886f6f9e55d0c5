"""The page of `report`: what it is told, that nothing of a checkpoint is taken for markup, and how it is written."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx.views.elements import Elements
from dcpx.views.report import make
from dcpx.views.report.embedded import script_json
from dcpx.views.report.exponents import FLOATS
from dcpx.views.report.joined import joined
from dcpx.views.shown import visible
from tests.support.extensions import Passing
from tests.support.files import data_file, flip, stored

HOSTILE = "</script><script>alert(1)</script><!--\x1b[31m\u202e\u2028&amp;"


def state(scale: float = 1.0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(300, 200, generator=generator) * scale
    return {
        "model": {
            "layers": {"0": {"weight": weight.bfloat16(), "bias": weight[0].clone()}, "1": {"count": torch.ones(3)}}
        },
        "note": "an object",
    }


def page_of(*paths: Path, **options: Any) -> str:
    output = io.StringIO()
    dcpx.report(list(paths), output, **options)
    return output.getvalue()


def told(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    dcpx.save(state(), tmp_path / "saved", user={"step": 7, "run": "small"}, sync=False)
    return tmp_path / "saved"


def test_it_tells_what_is_in_a_checkpoint(saved: Path) -> None:
    content = told(page_of(saved))
    assert content["schema"] == "dcpx.report/1"
    checkpoint, items = content["checkpoint"], content["items"]
    assert (checkpoint["kind"], checkpoint["dcpx"], checkpoint["world_size"]) == ("dcpx", dcpx.__version__, 1)
    assert checkpoint["user"] == [["step", "7"], ["run", '"small"']]
    assert checkpoint["problem_count"] == 0
    at = items["name"].index("model.layers.0.weight")
    assert items["dtypes"][items["dtype"][at]] == "bfloat16"
    assert items["shapes"][items["shape"][at]] == "300x200"
    assert (items["raw"][at], items["numel"][at]) == (120_000, 60_000)
    assert items["stored"][at] < 120_000
    assert items["codings"][items["coding"][at]] == "float"
    assert items["file_names"][items["files"][at]].endswith(".distcp")
    assert items["dtypes"][items["dtype"][items["name"].index("note")]] == "object"
    assert {len(items[column]) for column in ("name", "dtype", "shape", "raw", "stored", "coding", "files")} == {4}
    assert content["steps"] == []


def test_a_stock_checkpoint(tmp_path: Path) -> None:
    dcp.save(state(), checkpoint_id=tmp_path / "stock")
    content = told(page_of(tmp_path / "stock"))
    assert content["checkpoint"]["kind"] == "stock"
    assert content["checkpoint"]["created"] is None
    assert [one["dtype"] for one in content["exponents"]["dtypes"]] == ["bfloat16", "float32"]


def test_nothing_of_a_checkpoint_is_markup(tmp_path: Path) -> None:
    path = tmp_path / "<b>&"
    dcpx.save({HOSTILE: torch.ones(2), "$title": 1}, path, user={HOSTILE: [HOSTILE]}, sync=False)
    page = page_of(path)
    assert page.count("<script") == page.count("</script>") == 3
    assert "<b>" not in page
    assert all(one not in page for one in "\x1b\u202e\u2028")
    content = told(page)
    shown = visible(HOSTILE)
    assert shown == r"</script><script>alert(1)</script><!--\x1b[31m\u202e\u2028&amp;"
    assert set(content["items"]["name"]) == {shown, "$title"}
    assert content["checkpoint"]["user"][0][0] == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 模型", "plain ünïcode 模型"),
        ("a\nb\x00\x7f\x9b", r"a\nb\x00\x7f\x9b"),
        ("\ud800\u200b\ufeff\u2066", r"\ud800\u200b\ufeff\u2066"),
        ("\U000e0041", r"\U000e0041"),
        ("x" * 2000, f"{'x' * 500} … {'x' * 500}"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_json_holds_nothing_that_ends_a_script() -> None:
    value = {"<!--": "</script>&\u2028\u2029"}
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError):
        script_json(math.nan)


def test_only_what_is_in_the_page_may_run() -> None:
    page = joined("t", {})
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    bodies = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
    assert sorted(re.findall(r"'sha256-(.*?)'", policy[1])) == sorted(digests)
    assert len(digests) == 3
    assert all("<!--" not in body for body in bodies)
    assert "innerHTML" not in bodies[2]


def test_what_others_wrote_is_as_they_wrote_it() -> None:
    vendor = files("dcpx.views.report").joinpath("vendor")
    note = vendor.joinpath("README.md").read_text(encoding="utf-8")
    library = vendor.joinpath("echarts.min.js").read_bytes()
    assert f"sha256: {hashlib.sha256(library).hexdigest()}" in note
    version = re.search(rb't\.version="([\d.]+)"', library)
    assert version is not None
    assert f"Apache ECharts {version[1].decode()} " in note
    licences = {"LICENSE", "NOTICE", "LICENSE-d3", "LICENSE-zrender"}
    assert licences <= {one.name for one in vendor.iterdir()}


@pytest.mark.parametrize("dtype", FLOATS)
def test_exponents(dtype: str, tmp_path: Path) -> None:
    form = FLOATS[dtype]
    tensors = {f"t{number}": torch.randn(500).mul(2.0**number).to(getattr(torch, dtype)) for number in range(2)}
    dcpx.save(tensors, tmp_path, sync=False)
    (found,) = told(page_of(tmp_path))["exponents"]["dtypes"]
    counts: dict[int, int] = {}
    bits = 0.0
    for tensor in tensors.values():
        width = 8 * tensor.element_size()
        held = [one % 2**width >> form.mantissa_bits & (1 << form.exponent_bits) - 1 for one in integers(tensor)]
        for exponent in set(held):
            number = held.count(exponent)
            counts[exponent] = counts.get(exponent, 0) + number
            bits -= number * math.log2(number / len(held))
    expected = [counts.get(exponent, 0) for exponent in range(min(counts), max(counts) + 1)]
    assert (found["first"], found["counts"], found["elements"]) == (min(counts), expected, 1000)
    assert found["entropy"] == pytest.approx(bits / 1000)
    width = 1 + form.exponent_bits + form.mantissa_bits
    assert found["floor"] == pytest.approx((1 + form.mantissa_bits + bits / 1000) / width)


def integers(tensor: torch.Tensor) -> list[int]:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    numbers: list[int] = tensor.view(kinds[tensor.element_size()]).tolist()
    return numbers


def test_a_sample_is_the_same_each_time_and_of_all_parts(tmp_path: Path) -> None:
    dcpx.save({f"{number:03}": torch.full((1000,), 2.0**number) for number in range(100)}, tmp_path, sync=False)
    found = told(page_of(tmp_path, sample=40_000))["exponents"]
    assert found == told(page_of(tmp_path, sample=40_000, threads=0))["exponents"]
    assert found["share"] == pytest.approx(0.1)
    (of,) = found["dtypes"]
    assert of["elements"] == 10_000
    used = [number for number, count in enumerate(of["counts"]) if count]
    assert {later - earlier for earlier, later in pairwise(used)} == {10}


def test_nothing_is_read_unless_asked(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Elements, "read", None)
    assert told(page_of(saved, read=False))["exponents"] is None


def test_damage_is_told_and_the_rest_is_read(saved: Path) -> None:
    (file,) = saved.glob("*.distcp")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # in the large tensor
    file.write_bytes(content)
    page = told(page_of(saved))
    assert page["checkpoint"]["problem_count"] == 1
    assert "model.layers.0.weight" in page["checkpoint"]["problems"][0]
    assert [one["dtype"] for one in page["exponents"]["dtypes"]] == ["float32"]


def test_an_item_behind_an_unknown_extension(tmp_path: Path) -> None:
    dcpx.save({"w": torch.ones(4)}, tmp_path, pack=Passing(), sync=False)
    assert told(page_of(tmp_path))["checkpoint"]["problem_count"] == 1


def test_progress(saved: Path) -> None:
    seen: list[dcpx.progress.Progress] = []
    page_of(saved, progress=seen.append)
    assert seen[-1].bytes_done == seen[-1].bytes_total == 120_000 + 800 + 12
    assert seen[-1].items_done == seen[-1].items_total


def test_steps_in_order_with_norms_and_what_changed(tmp_path: Path) -> None:
    for step, scale in ((20, 2.0), (3, 1.0), (100, 2.0)):
        dcpx.save(state(scale), tmp_path / f"run{step}", user={"step": step}, sync=False)
    paths = [tmp_path / f"run{step}" for step in (20, 3, 100)]
    content = told(page_of(*paths))
    assert [one["step"] for one in content["steps"]] == [3, 20, 100]
    assert content["checkpoint"]["path"] == str(tmp_path / "run100")
    floats = [state()["model"]["layers"]["0"]["weight"], state()["model"]["layers"]["0"]["bias"], torch.ones(3)]
    norm = math.sqrt(sum(one.double().square().sum().item() for one in floats))
    assert content["steps"][0]["norm"] == pytest.approx(norm)
    changed = [one["changed"] for one in content["steps"]]
    assert changed == [None, pytest.approx(60_200 / 60_203), 0.0]
    bare = told(page_of(*paths, read=False))["steps"]
    assert [(one["norm"], one["changed"]) for one in bare] == [(None, None)] * 3


@pytest.mark.parametrize(
    ("names", "users", "steps"),
    [
        (["b-2", "a-10"], [{}, {"step": 1}], [2, 10]),
        (["b-2", "a-1"], [{"step": 5}, {"step": 9.5}], [5, 9.5]),
        (["2/last", "1/x9"], [{"step": True}, {}], [1, 2]),
        (["b", "a1"], [{"step": "4"}, {"step": 3}], [1, 2]),
    ],
)
def test_what_a_step_is(names: list[str], users: list[dict[str, Any]], steps: list[float], tmp_path: Path) -> None:
    for name, user in zip(names, users, strict=True):
        dcpx.save({"w": torch.ones(2)}, tmp_path / name, user=user, sync=False)
    content = told(page_of(*(tmp_path / name for name in names), read=False))
    assert [one["step"] for one in content["steps"]] == steps


def test_checkpoints_without_anything_in_common(tmp_path: Path) -> None:
    dcpx.save({"a": torch.ones(2)}, tmp_path / "1", sync=False)
    dcpx.save({"b": torch.ones(2)}, tmp_path / "2", sync=False)
    for read in (True, False):
        with pytest.warns(dcpx.DcpxWarning, match="another model"):
            steps = told(page_of(tmp_path / "1", tmp_path / "2", read=read))["steps"]
        assert [one["changed"] for one in steps] == [None, None]
        assert [one["problem_count"] for one in steps] == [0, 1]
        assert f"another model than {tmp_path / '1'}: they have no names in common" in steps[1]["problems"][0]


@pytest.mark.parametrize("writer", ["dcpx", "stock"])
@pytest.mark.parametrize("read", [True, False])
def test_damage_of_any_of_several(writer: str, read: bool, tmp_path: Path) -> None:
    """What can't be read is told of each checkpoint, once of each item."""
    for step in (1, 2, 3, 4):
        torch.manual_seed(step)
        tensors = {name: torch.randn(3000) for name in "ab"} | {"object": [step] * 50}
        if writer == "dcpx":
            dcpx.save(tensors, tmp_path / f"{step}", sync=False)
        else:
            dcp.save(tensors, checkpoint_id=tmp_path / f"{step}")
    paths = [tmp_path / f"{step}" for step in (1, 2, 3, 4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", dcpx.DcpxWarning)
        assert all(one["problem_count"] == 0 for one in told(page_of(*paths, read=read))["steps"])
    next(paths[0].glob("*.distcp")).unlink()
    info = stored(paths[1])["b"]
    flip(data_file(paths[1]), info.offset + info.length // 2)
    with pytest.warns(dcpx.DcpxWarning, match="the first: the file is missing") as warned:
        content = told(page_of(*paths, read=read))
    assert len(warned) == 1
    steps = content["steps"]
    assert "the file is missing" in steps[0]["problems"][0]
    finds = read and writer == "dcpx"
    assert [len(one["problems"]) for one in steps] == [4 if read else 1, int(finds), 0, 0]
    assert content["checkpoint"]["problem_count"] == 0
    if read:
        assert steps[0]["norm"] is steps[1]["changed"] is None
        assert steps[3]["norm"] is not None
        assert [sum(f"item '{name}'" in one for one in steps[0]["problems"]) for name in ("a", "b", "object")] == [
            1
        ] * 3
    if finds:
        assert "item 'b'" in steps[1]["problems"][0]


def test_a_page_is_utf8_wherever_it_goes(tmp_path: Path) -> None:
    dcpx.save({"模型": torch.ones(9)}, tmp_path / "c", sync=False)
    with (tmp_path / "page.html").open("w", encoding="ascii") as file:
        file.write("")
        dcpx.report(tmp_path / "c", file)
    assert told((tmp_path / "page.html").read_text(encoding="utf-8"))["items"]["name"] == ["模型"]


def test_an_empty_checkpoint(tmp_path: Path) -> None:
    dcpx.save({}, tmp_path, sync=False)
    content = told(page_of(tmp_path))
    assert content["items"]["name"] == []
    assert content["exponents"] == {"share": 1.0, "dtypes": []}


def test_the_file_is_replaced_as_a_whole(saved: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "report.html"
    output.parent.mkdir()
    output.write_text("before")
    dcpx.report(saved, output)
    assert output.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [one.name for one in output.parent.iterdir()] == ["report.html"]


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Files can't become larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there(saved: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "report.html"
    output.parent.mkdir()
    output.write_text("before")
    with at_most(100_000), pytest.raises(dcpx.SaveError, match=r"File too large.*report\.html"):
        dcpx.report(saved, output)
    assert [(one.name, one.read_text()) for one in output.parent.iterdir()] == [("report.html", "before")]


@pytest.mark.parametrize("moment", ["while reading", "while writing"])
def test_an_interrupt_leaves_nothing(saved: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*told: object) -> str:
        raise KeyboardInterrupt

    if moment == "while writing":
        monkeypatch.setattr(Path, "replace", interrupt)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        dcpx.report(saved, tmp_path / "out/report.html", progress=interrupt if moment == "while reading" else False)
    assert list((tmp_path / "out").iterdir()) == []


def test_where_it_can_not_be_written(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(dcpx.SaveError):
        dcpx.report(saved, tmp_path)
    with pytest.raises(dcpx.SaveError, match="No such file"):
        dcpx.report(saved, tmp_path / "missing/report.html")
    assert [one.name for one in tmp_path.iterdir()] == ["saved"]


def test_wrong_arguments(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the path of a checkpoint"):
        page_of()
    with pytest.raises(ValueError, match="sample must be"):
        page_of(saved, sample=0)
    with pytest.raises(ValueError, match="threads"):
        page_of(saved, threads=-1)
    with pytest.raises(dcpx.NotFoundError):
        page_of(saved, tmp_path / "missing")


def test_no_torch_is_needed(saved: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import dcpx
dcpx.report({str(saved)!r}, {str(tmp_path / "report.html")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert told((tmp_path / "report.html").read_text(encoding="utf-8"))["exponents"]["dtypes"]


def test_the_module_is_found_by_its_name() -> None:
    assert dcpx.report is make.report
