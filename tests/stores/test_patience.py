"""How often a store is asked again, and for how long: what its user has said bounds all of it."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch

import dcpx
from dcpx.store import objects
from dcpx.store.address import open_store
from tests.support.s3 import BUCKET, Fault, Proxy, bucket_options

STATE: dict[str, Any] = {"w": torch.ones(3)}

CALLS: dict[str, Callable[[str, Any], Any]] = {
    "save": lambda path, options: dcpx.save(STATE, path, no_dist=True, storage_options=options),
    "load": lambda path, options: dcpx.load({"w": torch.zeros(3)}, path, no_dist=True, storage_options=options),
    "verify": lambda path, options: dcpx.verify(path, storage_options=options),
}


@pytest.fixture
def hanging() -> Iterator[socket.socket]:
    """An endpoint that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server


def hasty(endpoint: str, **retry: Any) -> dict[str, Any]:
    return bucket_options(endpoint, retry_config=retry, client_options={"timeout": timedelta(seconds=1)})


@pytest.mark.parametrize("call", CALLS)
def test_an_endpoint_that_hangs(call: str, hanging: socket.socket):
    dcpx.save(STATE, "memory://patience/x", no_dist=True, overwrite=True)  # the first one imports what others need
    options = hasty(f"http://127.0.0.1:{hanging.getsockname()[1]}", max_retries=1, retry_timeout=timedelta(seconds=1))
    with pytest.raises((dcpx.SaveError, dcpx.LoadError)):
        CALLS[call](f"s3://{BUCKET}/x", options)
    hanging.setblocking(False)
    hanging.accept()[0].close()
    with pytest.raises(BlockingIOError):  # one request, which isn't repeated after a second
        hanging.accept()


@pytest.mark.parametrize("wrong", ["a key", "a bucket", "a denial"])
@pytest.mark.parametrize("call", CALLS)
def test_what_can_not_get_better_is_asked_once(call: str, wrong: str, proxy: Proxy):
    options = bucket_options(proxy.endpoint)
    bucket = BUCKET
    match wrong:
        case "a key":
            options["secret_access_key"] = "wrong"
        case "a bucket":
            bucket = "no-such-bucket"
        case _:
            proxy.begin(lambda request: "deny")
    with pytest.raises((dcpx.SaveError, dcpx.LoadError)):
        CALLS[call](f"s3://{bucket}/{uuid.uuid4()}", options)
    asked = [(request.method, request.path) for request in proxy.requests]
    assert len(asked) == len(set(asked)), asked


@pytest.mark.parametrize("fault", ["cut before", "cut within", "throttle"])
@pytest.mark.parametrize("most", [0, 2])
def test_no_more_repetitions_than_are_allowed(most: int, fault: Fault, proxy: Proxy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(objects.time, "sleep", lambda seconds: None)
    retry = {"max_retries": most, "backoff": {"init_backoff": timedelta(milliseconds=1)}}
    store = open_store(f"s3://{BUCKET}/x", storage_options=bucket_options(proxy.endpoint, retry_config=retry))
    proxy.begin(lambda request: fault)
    with pytest.raises(OSError, match=f"s3://{BUCKET}/x"):
        store.names()
    assert len(proxy.requests) == most + 1
    proxy.begin(lambda request: fault if request.number < most else None)
    assert store.names() == []
