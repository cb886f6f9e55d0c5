"""What importing dcpx does, in processes of their own: little, and torch accepts its extensions all the same."""

from __future__ import annotations

import datetime
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx

CONTRACT = "torch.distributed.checkpoint._extension"


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_brings_neither_torch_nor_numpy() -> None:
    run(
        """
import sys
import dcpx
dcpx.__all__, dir(dcpx), dcpx.TruncatedError, dcpx.StreamTransformExtension, dcpx.Extension
import dcpx.registry, dcpx.descriptor, dcpx.streams, dcpx.parallel, dcpx.zstd
heavy = {"torch", "numpy", "zstandard", "pyzstd", "backports.zstd", "concurrent.futures.process", "multiprocessing"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    )


def test_extensions_need_no_torch() -> None:
    run(
        """
import sys
import dcpx
dcpx.ZStandard(), dcpx.Pack(), dcpx.Chain(dcpx.ZStandard()), dcpx.default_registry()
assert "torch" not in sys.modules
"""
    )


def test_stores_need_no_torch() -> None:
    run(
        """
import sys, tempfile
from dcpx.store.address import open_store
from dcpx.store.sink import FileSink
from dcpx.store.source import FileSource
with tempfile.TemporaryDirectory() as folder:
    store = open_store(folder)
    sink = FileSink(store.create("x"))
    sink.write(b"abc")
    sink.finish()
    source = FileSource(store, "x")
    assert source.read(1, 2) == b"bc"
    source.close()
assert not {"torch", "numpy"} & sys.modules.keys()
"""
    )


def test_pickles_need_no_torch() -> None:
    run(
        """
import importlib, io, pkgutil, sys
import dcpx.pickles
from dcpx.codecs.container import container
for module in pkgutil.iter_modules(dcpx.pickles.__path__):
    importlib.import_module(f"dcpx.pickles.{module.name}")
from dcpx.pickles.containers import check_container
made = container("bfloat16", (2, 3))
check_container(io.BytesIO(made.before + bytes(12) + made.after))
assert "torch" not in sys.modules
"""
    )


def test_looking_into_checkpoints_needs_no_torch(tmp_path: Path) -> None:
    """With torch not to be had, the reports are those of a process that has it."""
    state: dict[str, Any] = {
        "bf16": torch.ones(64, 64).bfloat16(),
        "big": torch.zeros(1 << 20),
        "scalar": torch.tensor(3),
        "turned": torch.ones(3, 4, dtype=torch.complex64).t().conj(),
        "quantized": torch.quantize_per_tensor(torch.arange(8.0), 0.5, 1, torch.qint8),
        "object": {"a": [1, 2.5, "x"], "when": datetime.date(2024, 1, 1)},
        "tensor in an object": ({"x": torch.ones(2)},),
    }
    paths = [tmp_path / name for name in ("pack", "zstd", "plain", "stock", "damaged", "refused", "lost")]
    packs = {"zstd": dcpx.ZStandard(), "plain": None}
    for path in paths:
        if path.name == "stock":
            dcp.save(state, checkpoint_id=path)
            continue
        own = {"own": complex, "fn": print} if path.name == "refused" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcpx.save(state | own, path, pack=packs.get(path.name, dcpx.Pack()), user={"step": 3})
    (data,) = list((tmp_path / "damaged").glob("*_0_0.distcp")) or sorted((tmp_path / "damaged").glob("*.distcp"))[:1]
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    (tmp_path / "lost" / ".metadata").unlink()
    looked = f"""
import sys
sys.modules["torch"] = None
import dcpx
for path in {[str(path) for path in paths]}:
    try:
        report = dcpx.verify(path)
    except dcpx.LostPointerError as error:
        assert dcpx.restore_pointer(path) == [".metadata"]
        report = dcpx.verify(path)
        assert report.ok
    print(repr(report.verdict), *map(str, report.problems + report.refusals), report.whole, report.lost, sep="\\n")
assert sys.modules["torch"] is None
"""
    done = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = []
    for path in paths:
        report = dcpx.verify(path)
        expected += [repr(report.verdict), *map(str, report.problems + report.refusals), report.whole, report.lost]
    assert done.stdout.splitlines() == [line for one in expected for line in str(one).splitlines()]
    assert {"'whole'", "'damaged'"} <= set(done.stdout.splitlines())


def test_names() -> None:
    assert dir(dcpx) == sorted(dcpx.__all__)
    for name in dcpx.__all__:
        assert getattr(dcpx, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        dcpx.no_such_name  # noqa: B018


def test_star_import() -> None:
    names: dict[str, object] = {}
    exec("from dcpx import *", names)
    assert names.keys() - {"__builtins__"} == set(dcpx.__all__)


def test_dcpx_before_torch() -> None:
    run(
        f"""
import importlib, importlib.machinery, inspect, pickle, sys
import dcpx
before = dcpx.Chain(dcpx.ZStandard())  # made before torch is there
finders = len(sys.meta_path)
import torch.distributed.checkpoint
module = sys.modules["{CONTRACT}"]
assert isinstance(before, module.StreamTransformExtension)
assert isinstance(before, module.Extension)
assert isinstance(dcpx.Pack(), module.StreamTransformExtension)
assert issubclass(dcpx.StreamTransformExtension, module.StreamTransformExtension)
assert issubclass(dcpx.Extension, module.Extension)
assert not issubclass(dcpx.Extension, module.StreamTransformExtension)
assert not isinstance(dcpx.Extension, module.StreamTransformExtension)
assert not issubclass(module.ZStandard, dcpx.StreamTransformExtension)

# The module is as it would be without dcpx.
assert len(sys.meta_path) == finders - 1
assert type(module.__spec__.loader) is type(module.__loader__) is importlib.machinery.SourceFileLoader
assert module.__spec__.loader is module.__loader__
assert module.__spec__.origin == module.__file__ == module.__loader__.path
assert module.__spec__.name == module.__name__ == "{CONTRACT}"
assert module.__spec__.cached == module.__cached__
assert "class ZStandard" in inspect.getsource(module.ZStandard)
assert pickle.loads(pickle.dumps(module.ZStandard())).get_descriptor() == "stream.zstd/1"

# Torch's own classes, made anew by a reload, know dcpx's as soon as it connects again.
importlib.reload(module)
dcpx._torch_bridge.connect()
assert isinstance(before, module.StreamTransformExtension)
"""
    )


def test_torch_before_dcpx() -> None:
    run(
        f"""
import sys
import torch.distributed.checkpoint
finders = list(sys.meta_path)
import dcpx
module = sys.modules["{CONTRACT}"]
assert isinstance(dcpx.ZStandard(), module.StreamTransformExtension)
assert issubclass(dcpx.Extension, module.Extension)
assert sys.meta_path == finders  # nothing to wait for
"""
    )


# A stand-in for torch, small enough to be imported at will; its contract module runs `BODY` first.
STAND_IN = f"""
import importlib, importlib.util, pathlib, sys, tempfile
import dcpx
root = pathlib.Path(tempfile.mkdtemp())
package = root.joinpath(*"{CONTRACT}".split(".")[:-1])
package.mkdir(parents=True)
for folder in (package, *package.parents):
    if root in folder.parents:
        (folder / "__init__.py").touch()
(package / "_extension.py").write_text(BODY + '''
import abc
class Extension(abc.ABC): pass
class StreamTransformExtension(Extension): pass
''')
sys.path.insert(0, str(root))
"""
CHECK = f"""
module = importlib.import_module("{CONTRACT}")
assert pathlib.Path(module.__file__).is_relative_to(root)
assert isinstance(dcpx.Pack(), module.StreamTransformExtension)
assert isinstance(dcpx.Pack(), module.Extension)
"""


def test_import_of_a_stand_in() -> None:
    run("BODY = ''" + STAND_IN + CHECK)


def test_looking_for_torchs_module_does_not_lose_it() -> None:
    # As tools do that ask whether a module is there; whoever imports it later must find it connected.
    run("BODY = ''" + STAND_IN + f'assert importlib.util.find_spec("{CONTRACT}") is not None' + CHECK)


def test_failed_import_of_torchs_module_does_not_lose_it() -> None:
    # As in a notebook, where a missing dependency is installed and the import tried again.
    run(
        "BODY = 'import a_module_made_later'"
        + STAND_IN
        + f"""
try:
    importlib.import_module("{CONTRACT}")
    raise AssertionError("the first import went well")
except ModuleNotFoundError as error:
    assert error.name == "a_module_made_later", error
(root / "a_module_made_later.py").touch()
importlib.invalidate_caches()
"""
        + CHECK
    )


def test_other_modules_are_none_of_its_business() -> None:
    run(
        """
import dcpx
try:
    import torch_no_such_module
except ModuleNotFoundError as error:
    assert error.name == "torch_no_such_module"
else:
    raise AssertionError
"""
    )
