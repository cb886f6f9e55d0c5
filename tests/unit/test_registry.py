"""The registry: who may claim a name, what it says of unknown ones, and how plug-ins are found."""

from __future__ import annotations

import io
import sys
import types
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint

import pytest
import zstandard

from dcpx import (
    Chain,
    Extension,
    ExtensionError,
    ExtensionRegistry,
    Pack,
    ZStandard,
    default_registry,
    registry,
)
from tests.support.extensions import Passing

HOME = "dcpx_registry_test_home"


class Same(Passing):
    """Remembers its version."""

    descriptor = "same@acme"

    def __init__(self, version: str = "1") -> None:
        self.version = version

    @staticmethod
    def from_descriptor(version: str) -> Same:
        return Same(version)

    def get_descriptor(self) -> str:
        return f"{self.descriptor}/{self.version}"


class Other(Same):
    """Another class that claims the same name."""


class NoStream(Extension):
    """An extension, but of no stream."""

    @staticmethod
    def registry_name() -> str:
        return "no-stream@acme"

    @staticmethod
    def from_descriptor(version: str) -> NoStream:
        return NoStream()

    def get_descriptor(self) -> str:
        return self.registry_name()


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterable[Install]:
    """Declares entry points, as name=class or name=value, and offers this module's classes to them."""
    home = types.ModuleType(HOME)
    for cls in (Same, Other, NoStream):
        setattr(home, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, HOME, home)
    entries: list[EntryPoint] = []

    def declare(name: str, value: str) -> None:
        entries.append(EntryPoint(name, value, registry.ENTRY_POINT_GROUP))
        registry._plug_ins.cache_clear()

    def found(*, group: str) -> list[EntryPoint]:
        assert group == "dcpx.extensions"  # the name that third parties rely on
        return entries

    monkeypatch.setattr(registry, "entry_points", found)
    registry._plug_ins.cache_clear()
    yield declare
    registry._plug_ins.cache_clear()


# Classes registered by hand


def test_built_in_names() -> None:
    assert dict(ExtensionRegistry().extensions) == {
        "stream.zstd": ZStandard,
        "stream.chain@dcpx": Chain,
        "stream.pack@dcpx": Pack,
    }


def test_registered_class_is_built_with_its_version() -> None:
    mine = ExtensionRegistry()
    mine.register(Same)
    mine.register(Same)  # again: nothing to object to
    built = mine.from_descriptor_list(["same@acme/1:x/y", "stream.zstd/1", "same@acme"])
    assert [type(extension) for extension in built] == [Same, ZStandard, Same]
    assert [extension.version for extension in built if isinstance(extension, Same)] == ["1:x/y", ""]
    assert mine.from_descriptor_list([]) == []


def test_second_class_of_a_name_is_refused() -> None:
    mine = ExtensionRegistry()
    mine.register(Same)
    with pytest.raises(ExtensionError, match="already") as caught:
        mine.register(Other)
    assert all(cls.__qualname__ in str(caught.value) for cls in (Same, Other))
    assert mine.extensions["same@acme"] is Same


def test_built_in_name_is_refused() -> None:
    class Mine(Same):
        @staticmethod
        def registry_name() -> str:
            return "stream.zstd"

    mine = ExtensionRegistry()
    with pytest.raises(ExtensionError, match="built-in") as caught:
        mine.register(Mine)
    assert isinstance(caught.value, ValueError)
    assert mine.extensions["stream.zstd"] is ZStandard


@pytest.mark.parametrize("name", ["", "same@acme/1", "@acme", "same acme", None])
def test_malformed_name_is_refused(name: str) -> None:
    class Mine(Same):
        @staticmethod
        def registry_name() -> str:
            return name

    with pytest.raises(ExtensionError):
        ExtensionRegistry().register(Mine)


def test_view_is_read_only() -> None:
    with pytest.raises(TypeError):
        ExtensionRegistry().extensions["same@acme"] = Same  # type: ignore[index]


def test_default_registry_is_shared_and_frozen() -> None:
    assert default_registry() is default_registry()
    with pytest.raises(ExtensionError, match="frozen") as caught:
        default_registry().register(Same)
    assert registry.ENTRY_POINT_GROUP in str(caught.value)
    assert "same@acme" not in default_registry().extensions
    ExtensionRegistry().register(Same)  # one of one's own isn't


def test_registries_are_separate() -> None:
    one, other = ExtensionRegistry(), ExtensionRegistry()
    one.register(Same)
    assert "same@acme" not in other.extensions


# What can't be built


def test_unknown_name_says_what_is_known_and_who_brings_it(install: Install) -> None:
    install("same@acme", f"{HOME}:Same")
    with pytest.raises(ExtensionError) as caught:
        ExtensionRegistry().from_descriptor_list(["rot13@wonder-works/7"])
    message = str(caught.value)
    assert "'rot13@wonder-works'" in message
    assert "the package 'wonder-works'" in message
    assert all(name in message for name in ("stream.zstd", "stream.chain@dcpx", "stream.pack@dcpx", "same@acme"))


def test_unknown_name_without_a_domain(install: Install) -> None:
    with pytest.raises(ExtensionError, match=r"unknown extension 'stream\.lz4'.*Install"):
        ExtensionRegistry().from_descriptor_list(["stream.lz4/1"])


def test_malformed_descriptor() -> None:
    with pytest.raises(ExtensionError, match="no extension descriptor"):
        ExtensionRegistry().from_descriptor_list(["stream.zstd/1", "stream zstd"])


def test_errors_of_the_extension_pass_through() -> None:
    with pytest.raises(ValueError, match="'99'"):
        ExtensionRegistry().from_descriptor_list(["stream.pack@dcpx/99"])


def test_extension_of_no_stream_is_refused() -> None:
    mine = ExtensionRegistry()
    mine.register(NoStream)
    with pytest.raises(ExtensionError, match=r"NoStream.*can't be applied to a stream"):
        mine.from_descriptor_list(["no-stream@acme"])


def test_extension_of_torchs_own_contract_is_accepted() -> None:
    torchs = pytest.importorskip("torch.distributed.checkpoint._extension")

    class Theirs(torchs.ZStandard):  # type: ignore[misc, name-defined]
        @staticmethod
        def registry_name() -> str:
            return "theirs@acme"

        @staticmethod
        def from_descriptor(version: str) -> Theirs:
            return Theirs()

    mine = ExtensionRegistry()
    mine.register(Theirs)
    (built,) = mine.from_descriptor_list(["theirs@acme/1"])
    assert type(built) is Theirs
    frame = zstandard.compress(b"abc")
    assert Chain(built).transform_from(io.BytesIO(frame)).read() == b"abc"


# Plug-ins


def test_plug_in_is_found_and_kept(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("same@acme", f"{HOME}:Same")
    mine = ExtensionRegistry()
    assert "same@acme" not in mine.extensions  # not before a descriptor asks for it
    (built,) = mine.from_descriptor_list(["same@acme/3"])
    assert isinstance(built, Same)
    assert built.version == "3"
    assert mine.extensions["same@acme"] is Same
    monkeypatch.delitem(sys.modules, HOME)
    assert mine.from_descriptor_list(["same@acme/4"])


def test_plug_in_is_found_by_the_default_registry_too(install: Install) -> None:
    install("same@acme", f"{HOME}:Same")
    registry.default_registry.cache_clear()
    try:
        assert isinstance(default_registry().from_descriptor_list(["same@acme/1"])[0], Same)
    finally:
        registry.default_registry.cache_clear()


def test_two_packages_that_claim_a_name_are_refused(install: Install) -> None:
    install("same@acme", f"{HOME}:Same")
    install("same@acme", f"{HOME}:Other")
    with pytest.raises(ExtensionError, match="several packages") as caught:
        ExtensionRegistry().from_descriptor_list(["same@acme/1"])
    assert f"{HOME}:Same" in str(caught.value)
    assert f"{HOME}:Other" in str(caught.value)


def test_package_found_twice_claims_once(install: Install) -> None:
    install("same@acme", f"{HOME}:Same")
    install("same@acme", f"{HOME}:Same")
    assert isinstance(ExtensionRegistry().from_descriptor_list(["same@acme/1"])[0], Same)


def test_claim_of_a_built_in_warns_and_is_ignored(install: Install) -> None:
    install("stream.zstd", f"{HOME}:Same")
    install("same@acme", f"{HOME}:Same")
    with pytest.warns(UserWarning, match=r"built-in extension 'stream\.zstd' and is ignored"):
        built = ExtensionRegistry().from_descriptor_list(["same@acme/1", "stream.zstd/1"])
    assert [type(extension) for extension in built] == [Same, ZStandard]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once, not once an item
        ExtensionRegistry().from_descriptor_list(["same@acme/1"])


@pytest.mark.parametrize("value", [f"{HOME}:Same", f"{HOME}:__name__", f"{HOME}:__loader__"])
def test_class_of_another_name_is_refused(install: Install, value: str) -> None:
    install("alias@acme", value)
    with pytest.raises(ExtensionError, match=r"claims the extension 'alias@acme', but"):
        ExtensionRegistry().from_descriptor_list(["alias@acme/1"])


@pytest.mark.parametrize("value", ["dcpx_no_such_module:Same", f"{HOME}:NoSuchClass"])
def test_plug_in_that_cannot_be_imported(install: Install, value: str) -> None:
    install("same@acme", value)
    with pytest.raises(ExtensionError, match=r"'same@acme' of .* can't be imported") as caught:
        ExtensionRegistry().from_descriptor_list(["same@acme/1"])
    assert isinstance(caught.value.__cause__, (ImportError, AttributeError))


def test_plug_in_of_no_stream_is_refused(install: Install) -> None:
    install("no-stream@acme", f"{HOME}:NoStream")
    with pytest.raises(ExtensionError, match="can't be applied to a stream"):
        ExtensionRegistry().from_descriptor_list(["no-stream@acme"])
