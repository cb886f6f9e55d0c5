"""No text of an error shows a password, nor do the errors that it was raised from."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch

import dcpx
from dcpx.catalog.leftovers import find_leftovers
from dcpx.store.address import shown_path
from dcpx.store.masked import masked, masked_cause

STATE: dict[str, Any] = {"w": torch.ones(3)}
SECRET = "hunter2"
NOWHERE = "127.0.0.1:1"

CALLS: dict[str, Callable[[str, Any], Any]] = {
    "save": lambda path, options: dcpx.save(STATE, path, no_dist=True, storage_options=options),
    "async_save": lambda path, options: dcpx.async_save(STATE, path, storage_options=options).result(),
    "load": lambda path, options: dcpx.load(dict(STATE), path, no_dist=True, storage_options=options),
    "load_all": lambda path, options: dcpx.load_all(path, storage_options=options),
    "verify": lambda path, options: dcpx.verify(path, storage_options=options),
    "leftovers": lambda path, options: find_leftovers(path, storage_options=options),
    "restore_pointer": lambda path, options: dcpx.restore_pointer(path, storage_options=options),
}

_KEY = {
    "access_key_id": "a",
    "secret_access_key": "b",
    "region": "us-east-1",
    "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=3)},
}

PLACES: dict[str, tuple[str, Any]] = {
    "an address of S3": (f"s3://me:{SECRET}@tests/x", {"endpoint": f"http://{NOWHERE}", **_KEY}),
    "an empty part": (f"s3://me:{SECRET}@tests/a//x", None),
    "a wrong option": (f"s3://me:{SECRET}@tests/x", {"bogus": 1}),
    "a password with a slash": (f"s3://me:hun/{SECRET}@tests/none", None),
    "an endpoint": ("s3://tests/x", {"endpoint": f"http://me:{SECRET}@{NOWHERE}", **_KEY}),
    "an endpoint without a scheme": ("s3://tests/x", {"endpoint": f"me:{SECRET}@{NOWHERE}", **_KEY}),
    "a signature in an endpoint": ("s3://tests/x", {"endpoint": f"http://{NOWHERE}/a?sig={SECRET}", **_KEY}),
    "memory, which has no options": (f"memory://me:{SECRET}@run/x", {"bogus": 1}),
    "ftp": (f"ftp://me:{SECRET}@{NOWHERE}/x", None),
    "an unknown scheme": (f"nosuch://me:{SECRET}@{NOWHERE}/x", None),
    "a chain": (f"simplecache::ftp://me:{SECRET}@{NOWHERE}/x", None),
    "one slash": (f"s3:/me:{SECRET}@tests/x", None),
    "a signed address": (f"https://{NOWHERE}/x?sig={SECRET}", None),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_no_error_shows_a_password(call: str, place: str, caplog: pytest.LogCaptureFixture):
    path, options = PLACES[place]
    with caplog.at_level(logging.INFO), pytest.raises((ValueError, dcpx.DcpxError)) as caught:
        CALLS[call](path, options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in caplog.text


@pytest.mark.parametrize("call", ["load", "verify", "leftovers"])
def test_an_error_of_a_store_that_is_open(call: str, monkeypatch: pytest.MonkeyPatch):
    """Whatever the file system says once it has been reached, and in whichever of the errors that were chained."""

    def fail(self: object, *arguments: object, **options: object) -> None:
        try:
            raise ConnectionError(f"GET ftp://me:{SECRET}@{NOWHERE}/x")
        except ConnectionError as error:
            raise FileNotFoundError("no such file") from error

    from fsspec.implementations.dirfs import DirFileSystem

    for name in ("ls", "info", "cat_file"):
        monkeypatch.setattr(DirFileSystem, name, fail)
    with pytest.raises(dcpx.DcpxError) as caught:
        CALLS[call]("dir://x", {"path": "/tmp", "target_protocol": "file"})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"GET http://me:{SECRET}@h:1/a in 3 s", "GET http://***@h:1/a in 3 s"),
        (f"'ftp://me:a@{SECRET}@h/x' and 's3:/u:{SECRET}@b'", "'ftp://***@h/x' and 's3:/***@b'"),
        (f"s3://me:hun/{SECRET}@b/x", "s3://***@b/x"),
        (f"https://h/x?sv=1&sig={SECRET}&se=2", "https://h/x?sv=1&sig=***&se=2"),
        (f"https://h/x?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}", "https://h/x?X-Amz-Credential=***"
         "&X-Amz-Signature=***"),
        (f"http://h/x?access_token={SECRET}, and on", "http://h/x?access_token=***, and on"),
    ],
)  # fmt: skip
def test_what_is_masked(text: str, shown: str):
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a@b/c:d",
        "abfss://container@account.dfs.core.windows.net/run",
        "http://127.0.0.1:9000/tests/run@2/x",
        "hf://datasets/me/data@main/x",
        "/home/me:you@there/x",
        "sftp://me@host/x",
        "s3://bucket/what?x=1#2",
    ],
)
def test_what_stays(text: str):
    assert masked(text) == shown_path(text) == text


def test_a_cause_that_may_be_shown():
    inner, outer = ValueError("harmless"), OSError("as well")
    outer.__context__ = inner
    assert masked_cause(outer) is outer
    inner.args = (f"ftp://me:{SECRET}@h",)
    assert masked_cause(outer) is None
    outer.__suppress_context__ = True  # as by `from None`: nobody sees it
    assert masked_cause(outer) is outer
