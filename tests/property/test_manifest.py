"""The manifest's parser: what was packed comes back, and anything else is a typed error."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from dcpx import CorruptError, DcpxError, LimitError, TruncatedError, UnsupportedError
from dcpx.catalog.manifest import FileRecord, ItemRecord, Manifest, Seal, check_user, pack_pointer, parse_manifest
from tests.support.files import seal

UUID = "8174f939-8294-4d5e-80b0-9af18b8b0a7d"
MEMBERS = {
    *("manifest", "checkpoint", "created", "dcpx", "torch", "world_size", "metadata", "files", "items"),
    *("bases", "user", "pointer", "checksum"),
}
counts = st.integers(0, (1 << 63) - 1)
digests = st.text("0123456789abcdef", min_size=32, max_size=32)
# A surrogate pair is one character to JSON.
texts = st.text(st.characters(exclude_categories=()), max_size=20).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
seals = st.builds(Seal, st.just("header"), digests.map(lambda digest: digest[:16])) | st.builds(
    Seal, st.just("stored"), digests
)
manifests = st.builds(
    Manifest,
    st.just(UUID),
    texts,
    texts,
    texts,
    counts,
    st.builds(FileRecord, st.sampled_from([".metadata", "__3.metadata"]), counts, digests),
    st.lists(
        st.builds(FileRecord, st.integers(0, 99).map(f"{UUID}__{{}}_0.distcp".format), counts, digests),
        max_size=4,
        unique_by=lambda file: file.name,
    ),
    st.lists(st.builds(ItemRecord, texts, st.none() | st.lists(counts, max_size=3).map(tuple), seals), max_size=4),
    user=st.dictionaries(texts, plain, max_size=3),
    pointer=st.none() | texts,
)


@given(manifests, texts.filter(lambda name: name not in MEMBERS), plain)
def test_members_of_a_later_version_are_ignored(manifest: Manifest, name: str, value: Any):
    assert parse_manifest(seal(members_of(manifest.pack()) | {name: value})) == manifest


@given(manifests, st.binary(max_size=5000))
def test_the_pointers_content_comes_back(manifest: Manifest, content: bytes):
    described = FileRecord(".metadata", len(content), xxh3_128_hexdigest(content))
    told = replace(manifest, metadata=described, pointer=pack_pointer(content))
    assert parse_manifest(told.pack()).pointer_content(len(content)) == content
    if content:
        with pytest.raises(LimitError):
            told.pointer_content(len(content) - 1)
        with pytest.raises(CorruptError):
            replace(told, metadata=described._replace(size=len(content) - 1)).pointer_content(5000)
    with pytest.raises(CorruptError):
        replace(told, metadata=described._replace(size=len(content) + 1)).pointer_content(6000)
    with pytest.raises(CorruptError):
        replace(told, metadata=described._replace(xxh3_128="0" * 32)).pointer_content(5000)


@given(manifests, texts)
def test_a_pointers_content_that_is_none(manifest: Manifest, text: str):
    with pytest.raises((CorruptError, LimitError)):
        replace(manifest, pointer=text).pointer_content(1 << 20)


def test_a_pointer_that_unfolds_into_more_than_it_says():
    described = FileRecord(".metadata", 1 << 10, xxh3_128_hexdigest(bytes(1 << 10)))
    bomb = pack_pointer(bytes(1 << 28))
    told = Manifest(UUID, "", "", "", 1, described, [], [], pointer=bomb)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError):
            told.pointer_content(1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_without_a_pointers_content():
    told = Manifest(UUID, "", "0.0.1", "", 1, FileRecord(".metadata", 0, "0" * 32), [], [])
    assert b"pointer" not in told.pack()
    with pytest.raises(UnsupportedError, match=r"0\.0\.1"):
        told.pointer_content(100)


@given(manifests)
def test_round_trip(manifest: Manifest):
    data = manifest.pack()
    assert data.isascii()
    assert parse_manifest(data) == manifest
    assert parse_manifest(seal(members_of(data))) == manifest, "a seal made after the specification"


def members_of(data: bytes) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(data)
    del members["checksum"]
    return members


def outcome(data: bytes) -> Manifest | DcpxError:
    """The manifest, or the error that refuses it; any other exception passes and fails the test."""
    try:
        return parse_manifest(data)
    except DcpxError as error:
        return error


@given(manifests, st.data())
def test_any_change_is_refused(manifest: Manifest, data: st.DataObject):
    packed = bytearray(manifest.pack())
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    assert isinstance(outcome(bytes(packed)), CorruptError)


@given(manifests, st.data())
def test_every_prefix_is_refused(manifest: Manifest, data: st.DataObject):
    packed = manifest.pack()
    assert isinstance(outcome(packed[: data.draw(st.integers(0, len(packed) - 1))]), TruncatedError)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [inner for name, one in value.items() for inner in paths(one, (*path, name))]
    elif isinstance(value, list):
        found += [inner for number, one in enumerate(value) for inner in paths(one, (*path, number))]
    return found


@given(manifests, st.data())
def test_any_value_anywhere(manifest: Manifest, data: st.DataObject):
    """With a checksum that is right: an enemy's."""
    members = members_of(manifest.pack())
    path = data.draw(st.sampled_from(paths(members)))
    value = data.draw(plain)
    if not path:
        found = outcome(seal(value)) if isinstance(value, dict) and value else CorruptError("nothing to look at")
    else:
        inner = members
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        found = outcome(seal(members))
    if isinstance(found, Manifest):
        assert outcome(found.pack()) == found


@given(st.binary(max_size=200))
def test_anything_else(data: bytes):
    assert isinstance(outcome(data), CorruptError)
    tail = seal({"": data.hex()})
    assert isinstance(outcome(tail), CorruptError)


def raw_seal(body: bytes) -> bytes:
    """Any body with the checksum that it needs."""
    return body + b',"checksum":"' + xxh3_128_hexdigest(body).encode() + b'"}\n'


HOSTILE: dict[str, tuple[bytes, type[DcpxError]]] = {
    "lists in lists": (b'{"manifest":' + b"[" * 100_000, LimitError),
    "objects in objects": (b'{"manifest":' + b'{"a":' * 100_000, LimitError),
    "a long number": (b'{"manifest":' + b"9" * 10_000, CorruptError),
    "a name twice": (b'{"manifest":1,"manifest":1', CorruptError),
    "not a number": (b'{"manifest":NaN', CorruptError),
    "no UTF-8": (b'{"manifest":"\xff"', CorruptError),
    "no object": (b'["manifest"', CorruptError),
    "nothing": (b"", CorruptError),
    "a later version": (b'{"manifest":2', UnsupportedError),
    "a version that is true": (b'{"manifest":true', CorruptError),
    "a version alone": (b'{"manifest":1', CorruptError),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies(name: str):
    body, kind = HOSTILE[name]
    with pytest.raises(kind) as caught:
        parse_manifest(raw_seal(body))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x.distcp", ".metadata", "model.py", "a/__0_0.distcp", "__0_0.distcp\n", ""]
)
def test_files_that_are_none_of_a_checkpoints(name: str):
    manifest = Manifest(UUID, "", "", "", 1, FileRecord(".metadata", 0, "0" * 32), [], [])
    members = members_of(manifest.pack())
    members["files"] = [{"name": name, "size": 1, "xxh3_128": "0" * 32}]
    assert isinstance(outcome(seal(members)), CorruptError)
    members["files"] = []
    members["metadata"]["name"] = name if name != ".metadata" else "x.metadata"
    assert isinstance(outcome(seal(members)), CorruptError)


@given(st.dictionaries(texts, plain, max_size=4))
def test_what_users_may_add(user: dict[str, Any]):
    assert check_user(user) == user


@pytest.mark.parametrize(
    "user",
    [
        ["step"],
        {"step": {1, 2}},
        {"step": (1, 2)},
        {1: "step"},
        {"loss": float("nan")},
        {"loss": float("inf")},
        {"what": object()},
        {"long": "x" * (1 << 20)},
        "text",
    ],
    ids=lambda user: repr(user)[:20],
)
def test_what_users_may_not_add(user: Any):
    with pytest.raises(ValueError, match="user"):
        check_user(user)
