"""The errors: what Python code may catch them as, and that they cross process boundaries whole."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import pytest

import dcpx
from dcpx.errors import (
    CorruptError,
    DcpxError,
    ExtensionError,
    LimitError,
    LoadError,
    LostPointerError,
    MissingFileError,
    NotFoundError,
    ReplacedError,
    SaveError,
    TruncatedError,
    TrustError,
    UnsupportedError,
    Where,
)

KINDS: dict[type[DcpxError], set[type[Exception]]] = {
    DcpxError: set(),
    CorruptError: {ValueError},
    TruncatedError: {ValueError, EOFError, CorruptError},
    MissingFileError: {ValueError, OSError, CorruptError},
    LostPointerError: {ValueError, CorruptError},
    UnsupportedError: {ValueError},
    LimitError: {ValueError},
    ExtensionError: {ValueError},
    SaveError: {RuntimeError},
    LoadError: {RuntimeError},
    NotFoundError: {RuntimeError, OSError, LoadError},
    ReplacedError: {RuntimeError, LoadError},
    TrustError: {ValueError},
}
WHERE = Where("/ckpt/__0_0.distcp", "layer.weight", 4096, 3)

every_kind = pytest.mark.parametrize("kind", KINDS)


def raise_in_worker(kind: type[DcpxError]) -> None:
    raise kind("it broke", WHERE, "mend it")


def test_every_public_error_is_tried_here() -> None:
    public = {value for name in dcpx.__all__ if isinstance(value := getattr(dcpx, name), type)}
    assert {value for value in public if issubclass(value, BaseException)} == {*KINDS, dcpx.DcpxWarning}
    assert issubclass(dcpx.DcpxWarning, UserWarning)


@every_kind
def test_kin(kind: type[DcpxError]) -> None:
    tried = {ValueError, EOFError, RuntimeError, CorruptError, LoadError, OSError}
    assert {base for base in tried if issubclass(kind, base)} - {kind} == KINDS[kind]
    assert issubclass(kind, DcpxError)


@every_kind
def test_message(kind: type[DcpxError]) -> None:
    full = kind("it broke", WHERE, "mend it")
    assert str(full) == ("it broke (file '/ckpt/__0_0.distcp', item 'layer.weight', byte 4096, chunk 3). mend it")
    assert str(kind("it broke", None, "")) == "it broke"
    # Byte 0 and chunk 0 are places as good as any other.
    assert str(kind("it broke", Where(offset=0, chunk=0), "")) == "it broke (byte 0, chunk 0)"
    assert kind("it broke").remedy == kind.default_remedy


@every_kind
@pytest.mark.parametrize("where", [WHERE, None])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_whole(kind: type[DcpxError], where: Where | None, protocol: int) -> None:
    error = kind("it broke", where, "mend it")
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.deepcopy(error)):
        assert type(twin) is kind
        assert (twin.cause, twin.where, twin.remedy) == ("it broke", where or Where(), "mend it")
        assert str(twin) == str(error)
        assert twin.args == error.args


@every_kind
def test_no_remedy_is_kept_as_none(kind: type[DcpxError]) -> None:
    # '' is what the raiser said and not the absence of a word: the default must not come back.
    assert pickle.loads(pickle.dumps(kind("it broke", None, ""))).remedy == ""


def test_crosses_processes() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for kind in KINDS:
            with pytest.raises(kind) as caught:
                pool.apply(raise_in_worker, (kind,))
            assert type(caught.value) is kind
            assert (caught.value.cause, caught.value.where, caught.value.remedy) == ("it broke", WHERE, "mend it")


@every_kind
def test_located_fills_what_is_missing(kind: type[DcpxError]) -> None:
    error = kind("it broke", Where(offset=4096, chunk=3), "mend it")
    located = error.located("/ckpt/__0_0.distcp", "layer.weight")
    assert type(located) is kind
    assert (located.cause, located.where, located.remedy) == ("it broke", WHERE, "mend it")
    # Who was nearer to the bytes knew better.
    assert located.located("elsewhere", "another").where == WHERE
    assert error.where == Where(offset=4096, chunk=3)


def test_an_empty_name_is_a_name():
    error = SaveError("it broke").located(item="")
    assert error.where.item == ""
    assert "item ''" in str(error)
    assert error.located(item="another").where.item == ""


@every_kind
def test_others_are_counted_in_the_text(kind: type[DcpxError]) -> None:
    error = kind("it broke", Where(offset=4096, chunk=3), "mend it")
    assert error.with_others(0, "rank failed", "ranks failed") is error
    assert error.with_others(1, "rank failed", "ranks failed").cause == "it broke (and 1 more rank failed)"
    counted = error.with_others(2, "rank failed", "ranks failed")
    assert type(counted) is kind
    assert (counted.where, counted.remedy) == (error.where, error.remedy)
    for twin in (pickle.loads(pickle.dumps(counted)), counted.located("/ckpt/__0_0.distcp", "layer.weight", 1)):
        assert twin.cause == "it broke (and 2 more ranks failed)"
