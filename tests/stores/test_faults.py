"""What happens to a save, an overwrite and a load when the store or the way to it fails, at every request in turn."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch

import dcpx
from dcpx.catalog.leftovers import remove_leftovers
from dcpx.store import objects
from dcpx.store.address import open_store
from tests.support.s3 import BUCKET, Fault, Proxy, Request, bucket_options, uploads

FAULTS: list[Fault] = ["cut before", "cut after", "cut within", "throttle", "error"]
"""What a client mends by asking again."""

_UNTOLD = ("cut after", "cut within")

IMPATIENT = {
    "max_retries": 2,
    "backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=20), "base": 2},
    "retry_timeout": timedelta(seconds=10),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small checkpoint goes up in several parts, and a client that gives up does so soon."""
    monkeypatch.setattr(objects, "PART", 5 << 20)
    monkeypatch.setattr(objects.time, "sleep", lambda seconds: None)


NOISE = torch.randint(0, 256, (5_400_000,), dtype=torch.uint8)


def state_of(step: int) -> dict[str, Any]:
    return {"w": NOISE.roll(step), "s": torch.full((100,), float(step)), "step": step}


def blank() -> dict[str, Any]:
    return {"w": torch.zeros_like(NOISE), "s": torch.zeros(100), "step": 0}


class Bucket:
    """A checkpoint's place behind a proxy, and without it."""

    def __init__(self, server: str, proxy: Proxy, **more: Any) -> None:
        self.server = server
        self.proxy = proxy
        self.address = f"s3://{BUCKET}/{uuid.uuid4()}"
        self.options = bucket_options(proxy.endpoint, retry_config=IMPATIENT, **more)
        self.direct = bucket_options(server)
        self.untold = 0

    def save(self, step: int, **options: Any) -> None:
        dcpx.save(state_of(step), self.address, storage_options=self.options, **options)

    def save_first(self) -> None:
        dcpx.save(state_of(1), self.address, storage_options=self.direct)

    def step(self, **options: Any) -> int:
        """Which checkpoint is there, every bit of which is right; 0 for none."""
        state = blank()
        try:
            dcpx.load(state, self.address, storage_options=options or self.direct)
        except dcpx.NotFoundError:
            return 0
        expected = state_of(state["step"])
        assert torch.equal(state["w"], expected["w"])
        assert torch.equal(state["s"], expected["s"])
        return int(state["step"])

    def names(self) -> list[str]:
        return sorted(open_store(self.address, storage_options=self.direct).names())

    def assert_no_uploads(self, number: int) -> None:
        """But for those whose beginning the client never learned of, which it can't abort."""
        broken = next(request for request in self.proxy.requests if request.number == number)
        self.untold += "?uploads" in broken.path and self.proxy.fault(broken) in _UNTOLD
        assert len(uploads(self.server, self.address)) == self.untold

    def clear(self) -> None:
        store = open_store(self.address, storage_options=self.direct)
        for name in store.names():
            store.remove(name)


@pytest.fixture
def bucket(s3: str, proxy: Proxy) -> Bucket:
    return Bucket(s3, proxy)


def at(number: int, fault: Fault) -> Callable[[Request], Fault]:
    return lambda request: fault if request.number == number else None


def after(number: int, fault: Fault) -> Callable[[Request], Fault]:
    return lambda request: fault if request.number >= number else None


def some(count: int, fault: Fault, overwrite: bool = False) -> range:
    """The requests to break: all of them in a long run, else some, which are others for each kind of fault."""
    return (
        range(count) if "DCPX_STRESS" in os.environ else range([*FAULTS, "deny"].index(fault) % 3 + overwrite, count, 4)
    )


def requests_of(bucket: Bucket, call: Callable[[], object]) -> int:
    bucket.proxy.begin()
    call()
    return len(bucket.proxy.requests)


@pytest.mark.parametrize(
    ("overwrite", "fault"), [*((False, fault) for fault in FAULTS), (True, "cut after"), (True, "throttle")]
)
def test_a_save_outlives_what_passes(overwrite: bool, fault: Fault, bucket: Bucket):
    def save() -> None:
        bucket.proxy.begin()
        bucket.clear()
        if overwrite:
            bucket.save_first()

    save()
    count = requests_of(bucket, lambda: bucket.save(2, overwrite=overwrite))
    assert count > 10
    for number in some(count, fault, overwrite):
        save()
        bucket.proxy.begin(at(number, fault))
        try:
            bucket.save(2, overwrite=overwrite)
            expected = 2
        except dcpx.SaveError:
            assert fault == "cut within"  # the client doesn't repeat an upload's beginning that was answered by half
            expected = int(overwrite)
        assert bucket.step() == expected, number
        assert len(bucket.names()) == (3 if expected else 0), (number, bucket.names())
        bucket.assert_no_uploads(number)


@pytest.mark.parametrize("overwrite", [False, True], ids=["save", "overwrite"])
def test_a_save_that_is_denied(overwrite: bool, bucket: Bucket):
    """Credentials that expire for one request: the save fails and leaves what was there, or has succeeded before."""
    bucket.save(1)
    before = bucket.names()
    if not overwrite:
        bucket.clear()
        before = []
    count = requests_of(bucket, lambda: bucket.save(2, overwrite=overwrite))
    for number in some(count, "deny", overwrite):
        bucket.proxy.begin()
        bucket.clear()
        if overwrite:
            bucket.save_first()
        before = bucket.names()
        bucket.proxy.begin(at(number, "deny"))
        try:
            bucket.save(2, overwrite=overwrite)
        except dcpx.SaveError as error:
            told, expected = str(error), int(overwrite)
        else:
            told, expected, before = "403", 2, bucket.names()
        assert "403" in told
        assert bucket.step() == expected, number
        assert bucket.names() == before, number
        bucket.assert_no_uploads(number)


@pytest.mark.parametrize("fault", ["cut before", "deny"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["save", "overwrite"])
def test_a_store_that_goes_away(overwrite: bool, fault: Fault, bucket: Bucket):
    """From some request on nothing works any more, cleaning up neither: what is there is a whole checkpoint, the old
    one or the new one, and leftovers that can be removed."""
    count = requests_of(bucket, lambda: bucket.save(2, overwrite=overwrite))
    for number in some(count, fault, overwrite):
        bucket.proxy.begin()
        bucket.clear()
        if overwrite:
            bucket.save_first()
        bucket.proxy.begin(after(number, fault))
        try:
            bucket.save(2, overwrite=overwrite)
            outcomes = {2}
        except dcpx.SaveError as error:
            outcomes = {int(overwrite)} if "may be in place" not in str(error) else {int(overwrite), 2}
        assert bucket.step() in outcomes, number
        if bucket.step():
            remove_leftovers(bucket.address, older_than=0, storage_options=bucket.direct)
            assert bucket.step() in outcomes


@pytest.mark.parametrize("fault", FAULTS)
def test_a_load_outlives_what_passes(fault: Fault, bucket: Bucket):
    bucket.save(1)
    count = requests_of(bucket, lambda: bucket.step(**bucket.options))
    for number in some(count, fault):
        bucket.proxy.begin(at(number, fault))
        assert bucket.step(**bucket.options) == 1


@pytest.mark.parametrize("fault", ["cut before", "cut within", "throttle", "deny"])
def test_a_load_that_can_not_be(fault: Fault, bucket: Bucket):
    """It says what is the matter, and calls nothing damaged or missing."""
    bucket.save(1)
    count = requests_of(bucket, lambda: bucket.step(**bucket.options))
    for number in some(count, fault):
        bucket.proxy.begin(after(number, fault))
        try:
            bucket.step(**bucket.options)
        except dcpx.LoadError as error:
            told = error
        else:
            told = None
            assert fault == "cut within", "an answer without a body can't be cut within it"
        if told is not None:
            assert not isinstance(told, (dcpx.CorruptError, dcpx.NotFoundError)), number
            assert bucket.address in str(told)


def test_a_wrong_endpoint():
    options = bucket_options("http://127.0.0.1:9", retry_config=IMPATIENT)
    with pytest.raises(dcpx.LoadError, match=r"s3://tests/x.*127\.0\.0\.1:9"):
        dcpx.load(blank(), "s3://tests/x", storage_options=options)
    with pytest.raises(dcpx.SaveError, match=r"s3://tests/x.*127\.0\.0\.1:9"):
        dcpx.save(state_of(1), "s3://tests/x", storage_options=options)
    with pytest.raises(dcpx.LoadError):
        dcpx.verify("s3://tests/x", storage_options=options)


def test_a_bucket_that_is_missing(s3: str):
    for call in (
        lambda: dcpx.save(state_of(1), "s3://no-such-bucket/x", storage_options=bucket_options(s3)),
        lambda: dcpx.load(blank(), "s3://no-such-bucket/x", storage_options=bucket_options(s3)),
    ):
        with pytest.raises((dcpx.SaveError, dcpx.LoadError), match="NoSuchBucket"):
            call()


@pytest.mark.parametrize("wrong", [{"secret_access_key": "wrong"}, {"access_key_id": "nobody"}])
def test_credentials_that_are_refused(wrong: dict[str, str], s3: str):
    options = {**bucket_options(s3), **wrong}
    with pytest.raises(dcpx.LoadError, match="403"):
        dcpx.load(blank(), f"s3://{BUCKET}/x", storage_options=options)
    with pytest.raises(dcpx.SaveError, match="403"):
        dcpx.save(state_of(1), f"s3://{BUCKET}/x", storage_options=options)


def test_a_store_without_conditions(s3: str, proxy: Proxy):
    """The checkpoint that is there is asked for before, and then written over only where that is allowed."""
    bucket = Bucket(s3, proxy, conditional_put="disabled")
    bucket.save(1)
    with pytest.raises(dcpx.SaveError, match="exists already"):
        bucket.save(2)
    bucket.save(3, overwrite=True)
    assert bucket.step() == 3
    assert len(bucket.names()) == 3


def test_a_listing_that_lags(s3: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch):
    """What another has just written isn't in it: the pointer is published on a condition all the same."""
    bucket = Bucket(s3, proxy)
    bucket.save(1)
    listed = objects.ObjectStore.names
    monkeypatch.setattr(objects.ObjectStore, "names", lambda self: [])
    with pytest.raises(dcpx.SaveError, match="exists already"):
        bucket.save(2)
    bucket.save(3, overwrite=True)
    monkeypatch.setattr(objects.ObjectStore, "names", listed)
    assert bucket.step() == 3
