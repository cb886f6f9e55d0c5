"""Items whose writing breaks off, through whole extensions: what lies in the store must not look like an item."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import IO, cast

import numpy as np
import pytest

from dcpx import Chain, Pack, StreamTransformExtension, ZStandard
from tests.conftest import PlugIn
from tests.support.extensions import Tailed
from tests.support.sinks import Sink, full_disk

CHAINS: dict[str, Callable[[], StreamTransformExtension]] = {
    "zstd": ZStandard,
    "pack": Pack,
    "pack, zstd": lambda: Chain(Pack(), ZStandard()),
    "zstd, pack": lambda: Chain(ZStandard(), Pack("raw")),
    "tailed, zstd, tailed": lambda: Chain(Tailed(), ZStandard(), Tailed()),
    "chain in chain": lambda: Chain(Chain(Pack("raw"), Tailed()), Chain(ZStandard())),
}

every_chain = pytest.mark.parametrize("extension", [pytest.param(make(), id=name) for name, make in CHAINS.items()])
CONTENT = np.random.default_rng(0).bytes(300_000)


def store(extension: StreamTransformExtension, sink: Sink) -> None:
    stream = extension.transform_to(cast(IO[bytes], sink))
    stream.write(CONTENT)
    stream.close()


def break_off(extension: StreamTransformExtension, sink: Sink) -> None:
    with extension.transform_to(cast(IO[bytes], sink)) as stream:
        stream.write(CONTENT)
        raise KeyError("the caller's own")


@every_chain
def test_with_block_that_fails(extension: StreamTransformExtension) -> None:
    sink, whole = Sink(), Sink()
    with pytest.raises(KeyError):
        break_off(extension, sink)
    store(extension, whole)
    assert len(sink.data) < len(whole.data)
    assert not sink.data.endswith(b"END")


@every_chain
def test_forgotten_stream(extension: StreamTransformExtension) -> None:
    sink, whole = Sink(), Sink()
    extension.transform_to(cast(IO[bytes], sink)).write(CONTENT)
    gc.collect()
    store(extension, whole)
    assert len(sink.data) < len(whole.data)
    assert not sink.data.endswith(b"END")


@every_chain
def test_failing_store_gets_nothing_after_its_error(extension: StreamTransformExtension) -> None:
    counting = Sink()
    store(extension, counting)
    assert counting.turns > 0
    for failing in {0, counting.turns // 2, counting.turns - 1}:
        sink = Sink(full_disk(failing))
        with pytest.raises(OSError, match="No space left") as caught:
            store(extension, sink)
        caught.value.__traceback__ = None  # which holds the streams: let the collector have them
        del caught
        gc.collect()
        assert sink.turns == failing + 1


@every_chain
def test_close_after_the_error_raises_it_again(extension: StreamTransformExtension) -> None:
    stream = extension.transform_to(cast(IO[bytes], Sink(full_disk(0))))

    def write_on() -> None:
        for _ in range(100):  # until no buffer hides it any more
            stream.write(CONTENT)

    with pytest.raises(OSError, match="No space left") as first:
        write_on()
    with pytest.raises(OSError) as again:
        stream.close()
    assert again.value is first.value
    assert stream.closed


def test_stream_above_that_knows_no_failure(plug_in: PlugIn) -> None:
    """Rot13's own stream is a plain RawIOBase: its `close`, also the collector's, reaches the streams of dcpx below."""
    extension = Chain(plug_in.rot13(), ZStandard(), Tailed())
    sink = Sink()
    with pytest.raises(KeyError):
        break_off(extension, sink)
    assert not sink.data.endswith(b"END")

    sink = Sink()
    extension.transform_to(cast(IO[bytes], sink)).write(CONTENT)
    gc.collect()
    assert not sink.data.endswith(b"END")
