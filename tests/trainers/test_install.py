"""`dcpx.install()`: what only knows DCP writes and reads dcpx, in stock's manners, and all else stays as it was."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader, FileSystemWriter, format_utils
from torch.distributed.checkpoint._extension import ZStandard as StockZStandard
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

import dcpx
from dcpx.catalog.names import save_of
from dcpx.parallel import Crew
from dcpx.trainers import install as installed
from tests.support.s3 import BUCKET, KEY, SECRET, bucket_options


def state_of(step: int) -> dict[str, Any]:
    return {"w": torch.full((300, 301), float(step)), "step": step, "names": ["a"]}


def blank() -> dict[str, Any]:
    return {"w": torch.zeros(300, 301), "step": 0, "names": []}


def is_dcpx(path: Any) -> bool:
    return any(name.endswith(".manifest.json") for name in os.listdir(path))


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    dcpx.uninstall()


WAYS: dict[str, tuple[Any, Any]] = {
    "checkpoint_id": (
        lambda state, path: dcp.save(state, checkpoint_id=path),
        lambda state, path: dcp.load(state, checkpoint_id=path),
    ),
    "by name": (
        lambda state, path: dcp.save(state, storage_writer=FileSystemWriter(path)),
        lambda state, path: dcp.load(state, storage_reader=FileSystemReader(path)),
    ),
    "through the package": (
        lambda state, path: dcp.save(state, storage_writer=dcp.FileSystemWriter(path, True, False, 4)),
        lambda state, path: dcp.load(state, storage_reader=dcp.FileSystemReader(path)),
    ),
    "torchtune's arguments": (
        lambda state, path: dcp.save(
            state,
            storage_writer=FileSystemWriter(path, thread_count=16, single_file_per_rank=False, sync_files=False),
        ),
        lambda state, path: dcp.load(state, storage_reader=FileSystemReader(path)),
    ),
    "fsspec's classes": (
        lambda state, path: dcp.save(state, checkpoint_id=path, storage_writer=FsspecWriter(path)),
        lambda state, path: dcp.load(state, checkpoint_id=path, storage_reader=FsspecReader(path)),
    ),
    "in a thread": (
        lambda state, path: dcp.async_save(state, checkpoint_id=path).result(),
        lambda state, path: dcp.load(state, checkpoint_id=path),
    ),
}


@pytest.mark.filterwarnings("ignore:torch.distributed is:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_save_and_load(way: str, tmp_path: Path):
    save, load = WAYS[way]
    path = str(tmp_path / "c")
    with dcpx.install():
        for step in (1, 2):  # again to the same path, as trainers do
            if way == "in a thread" and not torch.distributed.is_initialized():
                torch.distributed.init_process_group(
                    "gloo", init_method=f"file://{tmp_path}/{step}", world_size=1, rank=0
                )
            try:
                save(state_of(step), path)
            finally:
                if torch.distributed.is_initialized():
                    torch.distributed.destroy_process_group()
            (tmp_path / "c" / "meta.pt").touch()
        state = blank()
        load(state, path)
    assert torch.equal(state["w"], state_of(2)["w"])
    assert is_dcpx(path)
    assert "meta.pt" in os.listdir(path), "other files stay"
    assert len({save_of(name) for name in os.listdir(path)} - {None}) == 1
    assert dcpx.verify(path).ok


def test_stocks_readers_know_the_extensions(tmp_path: Path):
    class Own(FileSystemReader):
        pass

    dcpx.save(state_of(1), tmp_path / "c")
    with dcpx.install():
        reader = Own(tmp_path / "c")
        assert type(reader) is Own
        state = blank()
        dcp.load(state, storage_reader=reader, no_dist=True)
    assert torch.equal(state["w"], state_of(1)["w"])


def test_what_is_left_alone(tmp_path: Path):
    class Own(FileSystemWriter):
        pass

    from torch.distributed.checkpoint import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.filesystem import SerializationFormat

    with dcpx.install():
        assert type(Own(tmp_path)) is Own
        assert type(FileSystemWriter(tmp_path, _extensions=[StockZStandard()])) is FileSystemWriter
        formatted = FileSystemWriter(tmp_path, serialization_format=SerializationFormat.SAFETENSORS)
        assert type(formatted) is FileSystemWriter
        assert type(FileSystemReader(tmp_path, dcpx.default_registry())) is FileSystemReader  # type: ignore[arg-type]
        assert type(HuggingFaceStorageWriter(str(tmp_path))) is HuggingFaceStorageWriter
        with pytest.raises(TypeError, match="nonsense"):
            FileSystemWriter(tmp_path, nonsense=1)  # type: ignore[call-arg]


def test_before_and_after(tmp_path: Path):
    def kind() -> type:
        return type(FileSystemWriter(tmp_path))

    assert kind() is FileSystemWriter
    with dcpx.install():
        assert issubclass(kind(), dcpx.Writer)
        with dcpx.install(names="stock"):
            assert FileSystemWriter(tmp_path).names == "stock"  # type: ignore[attr-defined]
        assert FileSystemWriter(tmp_path).names == "dcpx"  # type: ignore[attr-defined]
    assert kind() is FileSystemWriter
    assert type(FsspecWriter(str(tmp_path))) is FsspecWriter
    assert type(FileSystemReader(tmp_path)) is FileSystemReader
    dcpx.install()
    dcpx.install(threads=1)
    dcpx.uninstall()
    assert kind() is FileSystemWriter
    with pytest.raises(ValueError, match="names"):
        dcpx.install(names="mine")  # type: ignore[arg-type]


def test_it_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installed, "_said", False)
    with caplog.at_level(logging.INFO, logger="dcpx"):
        dcpx.install()
        dcpx.install()
    assert [record.message.count("FileSystemWriter") for record in caplog.records if record.name == "dcpx"] == [1]


def test_stocks_names(tmp_path: Path):
    """As Composer looks for them: one file for each rank, whose name it makes up itself."""
    path = tmp_path / "c"
    with dcpx.install(names="stock"):
        for step in (1, 2):
            dcp.save(state_of(step), storage_writer=FileSystemWriter(path, single_file_per_rank=False), no_dist=True)
            assert {"__0_0.distcp", ".metadata"} < set(os.listdir(path))
            assert len(os.listdir(path)) == 3
        state = blank()
        dcp.load(state, storage_reader=FileSystemReader(path), no_dist=True)
    assert torch.equal(state["w"], state_of(2)["w"])
    assert dcpx.verify(path).ok


def test_what_would_not_load_is_not_saved(tmp_path: Path):
    with dcpx.install():
        with pytest.raises(dcp.api.CheckpointException, match=r"Weird"):
            dcp.save({"x": Weird()}, checkpoint_id=tmp_path / "c", no_dist=True)
        assert not (tmp_path / "c" / ".metadata").exists()
    for options in ({"safe_globals": [Weird]}, {"trust": True}):
        with dcpx.install(**options):  # type: ignore[arg-type]
            dcp.save({"x": Weird()}, checkpoint_id=tmp_path / "c", no_dist=True)
            state: dict[str, Any] = {"x": None}
            dcp.load(state, checkpoint_id=tmp_path / "c", no_dist=True)
            assert type(state["x"]) is Weird
    with dcpx.install(strict=False), pytest.warns(dcpx.DcpxWarning, match="Weird"):
        dcp.save({"x": Weird()}, checkpoint_id=tmp_path / "c", no_dist=True)


class Weird:
    pass


def test_the_version_of_torch_is_saved_as_it_is(tmp_path: Path):
    """Composer saves it, as an object of torch's class: a text that compares as versions do."""
    with dcpx.install():
        dcp.save({"version": torch.__version__, "nested": [torch.__version__]}, checkpoint_id=tmp_path, no_dist=True)
        state = {"version": None, "nested": None}
        dcp.load(state, checkpoint_id=tmp_path, no_dist=True)
    assert state == {"version": torch.__version__, "nested": [torch.__version__]}
    assert type(state["version"]) is type(torch.__version__)
    assert dcpx.verify(tmp_path).ok


@pytest.mark.parametrize("arguments", [(), (7,), ("1.0\n",), ("1" * 100,), ("1.0", "ascii")], ids=str)
def test_what_is_no_version_of_torch_is_refused(arguments: tuple[Any, ...], tmp_path: Path):
    class Forged:
        def __reduce__(self) -> Any:
            return type(torch.__version__), arguments

    with dcpx.install(), pytest.raises(dcp.api.CheckpointException, match="a version"):
        dcp.save({"version": Forged()}, checkpoint_id=tmp_path, no_dist=True)


def test_converters(tmp_path: Path):
    with dcpx.install():
        torch.save(state_of(3), tmp_path / "file.pt")
        format_utils.torch_save_to_dcp(tmp_path / "file.pt", tmp_path / "c")
        assert is_dcpx(tmp_path / "c")
        format_utils.dcp_to_torch_save(tmp_path / "c", tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt")
    assert torch.equal(back["w"], state_of(3)["w"])
    assert back["step"] == 3


def test_a_stock_checkpoint_is_read_and_replaced(tmp_path: Path):
    path = tmp_path / "c"
    dcp.save(state_of(1), checkpoint_id=path, no_dist=True)
    with dcpx.install():
        state = blank()
        dcp.load(state, checkpoint_id=path, no_dist=True)
        assert state["step"] == 1
        dcp.save(state_of(2), checkpoint_id=path, no_dist=True)
    assert "__0_0.distcp" not in os.listdir(path)
    dcp.save(state_of(3), checkpoint_id=path, no_dist=True)  # stock's own, over dcpx's
    dcpx.save(state_of(4), path, overwrite=True)
    assert len(os.listdir(path)) == 3, "nothing of the three before is left"


@pytest.mark.parametrize("options", [{}, {"key": KEY, "secret": SECRET}], ids=["the environment", "fsspec's options"])
def test_addresses(options: dict[str, str], s3: str, monkeypatch: pytest.MonkeyPatch):
    address = f"s3://{BUCKET}/{uuid.uuid4()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    if not options:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with dcpx.install():
        for step in (1, 2):
            if options:
                dcp.save(state_of(step), storage_writer=FsspecWriter(address, **options), no_dist=True)
            else:
                dcp.save(state_of(step), checkpoint_id=address, no_dist=True)
        state = blank()
        if options:
            dcp.load(state, storage_reader=FsspecReader(address, **options), no_dist=True)
        else:
            dcp.load(state, checkpoint_id=address, no_dist=True)
    assert torch.equal(state["w"], state_of(2)["w"])
    assert dcpx.verify(address, storage_options=bucket_options(s3)).ok


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


SCRIPT = """
    import torch, torch.distributed.checkpoint as dcp
    dcp.save({"w": torch.ones(300)}, checkpoint_id="c", no_dist=True)
    state = {"w": torch.zeros(300)}
    dcp.load(state, checkpoint_id="c", no_dist=True)
    print(state["w"].sum().item())
"""


@pytest.mark.parametrize("value", ["1", "stock", "trust, stock", "off", "", "nonsense"])
def test_by_the_environment(value: str, tmp_path: Path):
    done = run(SCRIPT, tmp_path, DCPX_INSTALL=value)
    assert done.stdout == "300.0\n", done.stderr
    assert is_dcpx(tmp_path / "c") is (value in ("1", "stock", "trust, stock"))
    assert ("__0_0.distcp" in os.listdir(tmp_path / "c")) is (value != "1")
    assert ("is ignored" in done.stderr) is (value == "nonsense")


def test_the_environment_costs_nothing_before_torch(tmp_path: Path):
    script = "import sys; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    assert run(script, tmp_path, DCPX_INSTALL="1").stdout == "[]\n"


def test_in_another_process(tmp_path: Path):
    """Where a save runs in a process of its own nobody has installed anything: its writer is made in this one."""
    script = """
        import os, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp, dcpx
        from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

        if __name__ == "__main__":
            meeting = "file://" + os.path.abspath("store")
            dist.init_process_group("gloo", init_method=meeting, world_size=1, rank=0)
            dcpx.install()
            for step in (1, 2):
                dcp.async_save({"w": torch.full((300,), float(step))}, checkpoint_id="c",
                               async_checkpointer_type=AsyncCheckpointerType.PROCESS).result()
            dist.destroy_process_group()
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert is_dcpx(tmp_path / "c")
    state = {"w": torch.zeros(300)}
    dcpx.load(state, tmp_path / "c")
    assert state["w"].sum() == 600


@pytest.mark.parametrize(("asked", "works"), [(None, 0), (2, 2)])
def test_beside_a_training_no_crew_works(asked: int | None, works: int, tmp_path: Path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", world_size=1, rank=0)
    try:
        with dcpx.install(threads=asked), mock.patch("dcpx.saving.writer.Crew", wraps=Crew) as crews:
            dcp.async_save(state_of(1), checkpoint_id=tmp_path / "c").result()
    finally:
        dist.destroy_process_group()
    assert [call.args[0] for call in crews.mock_calls] == [works]


def test_a_planner_of_the_trainers(tmp_path: Path):
    with dcpx.install():
        dcp.save(state_of(1), checkpoint_id=tmp_path / "c", planner=dcp.DefaultSavePlanner(), no_dist=True)
        state = blank()
        dcp.load(state, checkpoint_id=tmp_path / "c", planner=DefaultLoadPlanner(), no_dist=True)
    assert state["step"] == 1


def test_stand_ins_are_what_they_stand_in_for(tmp_path: Path):
    with dcpx.install():
        for kind in (FileSystemWriter, FileSystemReader, FsspecWriter, FsspecReader):
            assert isinstance(kind(str(tmp_path)), kind)
        assert not isinstance(FileSystemWriter(str(tmp_path)), FsspecWriter)
    assert type(FsspecWriter(str(tmp_path))) is FsspecWriter


def test_arguments_are_found_by_their_names():
    dcpx.install()
    for kind in (FileSystemWriter, FileSystemReader, FsspecWriter, FsspecReader):
        found = list(inspect.signature(kind).parameters)
        assert found == list(inspect.signature(kind.__init__).parameters)[1:]
    assert "cache_staged_state_dict" in inspect.signature(FileSystemWriter).parameters


def test_a_block_is_entered_again(tmp_path: Path):
    again = dcpx.install()
    for _ in range(2):
        with again:
            assert isinstance(FileSystemWriter(tmp_path), dcpx.Writer)
        assert not isinstance(FileSystemWriter(tmp_path), dcpx.Writer)
    with dcpx.install(threads=3) as outer:
        with again:
            assert FileSystemWriter(tmp_path).threads is None  # type: ignore[attr-defined]
        assert FileSystemWriter(tmp_path).threads == 3  # type: ignore[attr-defined]
    assert outer is not again


@pytest.mark.parametrize(("said", "waits"), [("0", 0), ("no", 0), ("off", 0), ("False", 0), ("1", 1), ("TRUE", 1)])
def test_off_by_the_environment(said: str, waits: int, tmp_path: Path):
    """Nothing waits for DCP to be imported, and so nothing is installed then."""
    script = (
        "import sys; print([vars(one).get('_name') for one in sys.meta_path].count('torch.distributed.checkpoint'))"
    )
    done = run(script, tmp_path, DCPX_INSTALL=said)
    assert (done.stdout, done.stderr) == (f"{waits}\n", "")
