"""A third party's package: found by its entry points alone, and held to the contract like dcpx's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dcpx
from dcpx import Chain, ExtensionError, ExtensionRegistry, StreamTransformExtension, ZStandard, registry
from dcpx.testing import StreamTransformContract

from ..conftest import PlugIn


class PlugInContract(StreamTransformContract):
    plug_in: PlugIn

    @pytest.fixture(autouse=True)
    def installed(self, plug_in: PlugIn) -> None:
        self.plug_in = plug_in


class TestRot13(PlugInContract):
    detects_truncation = False

    def extension(self) -> StreamTransformExtension:
        return self.plug_in.rot13()


class TestXor(PlugInContract):
    detects_truncation = False

    def extension(self) -> StreamTransformExtension:
        return self.plug_in.xor()


class TestCrc32(PlugInContract):
    def extension(self) -> StreamTransformExtension:
        return self.plug_in.crc32()


class TestChained(PlugInContract):
    def extension(self) -> StreamTransformExtension:
        return Chain(self.plug_in.rot13(), ZStandard(), self.plug_in.xor())


LOAD = """
import sys
import torch
import dcpx

assert "dcpx_test_plugin" not in sys.modules
state = {"text": torch.zeros(5, dtype=torch.uint8)}
dcpx.load(state, sys.argv[1])
assert bytes(state["text"].numpy()) == b"Hello", state
print(sorted(name for name in sys.modules if name.startswith("dcpx_test_plugin.")))
"""


def run(plug_in_path: Path | None, *args: str) -> subprocess.CompletedProcess[str]:
    path = {} if plug_in_path is None else {"PYTHONPATH": str(plug_in_path)}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | path
    return subprocess.run([sys.executable, *args], env=environment, capture_output=True, text=True)


def test_entry_point_alone_brings_the_class(tmp_path: Path, plug_in: PlugIn) -> None:
    text = torch.frombuffer(bytearray(b"Hello"), dtype=torch.uint8)
    dcpx.save({"text": text}, tmp_path / "ckpt", pack=plug_in.rot13())

    with_it = run(plug_in.path, "-c", LOAD, str(tmp_path / "ckpt"))
    assert with_it.returncode == 0, with_it.stderr
    assert with_it.stdout.strip() == "['dcpx_test_plugin.rot13']"  # and not what no descriptor asked for

    lookup = f"import dcpx; dcpx.default_registry().from_descriptor_list([{plug_in.rot13().get_descriptor()!r}])"
    assert run(plug_in.path, "-c", lookup).returncode == 0
    without = run(None, "-c", lookup)
    assert without.returncode != 0
    assert "unknown extension 'rot13@dcpx-test-plugin'" in without.stderr
    assert "the package 'dcpx-test-plugin'" in without.stderr


def test_entry_points_are_named_in_messages(plug_in: PlugIn) -> None:
    with pytest.raises(ExtensionError) as caught:
        ExtensionRegistry().from_descriptor_list(["rot14@dcpx-test-plugin"])
    assert all(f"{name}@dcpx-test-plugin" in str(caught.value) for name in ("rot13", "xor", "crc32"))


def test_claim_names_its_package(plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dcpx_test_plugin.rot13", None)  # its import fails
    with pytest.raises(ExtensionError, match=r"dcpx-test-plugin \(dcpx_test_plugin\.rot13:Rot13\) can't be imported"):
        ExtensionRegistry().from_descriptor_list(["rot13@dcpx-test-plugin/1"])


def test_package_on_the_path_twice_claims_once(plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, f"{plug_in.path}/"])
    registry._plug_ins.cache_clear()
    assert ExtensionRegistry().from_descriptor_list(["rot13@dcpx-test-plugin/1"])
