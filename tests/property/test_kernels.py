"""The native kernels against their NumPy oracle, at any length and alignment, and their argument checks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx import kernels
from dcpx.kernels import reference

Kernel = Callable[[memoryview, memoryview, int], None]

WIDTHS = (2, 4, 8)
GUARD = 0xA5
OFFSETS = st.integers(0, 15)
# Around the split's block of 1,024 lanes, where a vectorised loop has its seams, and anything small.
LANES = st.integers(0, 200) | st.sampled_from([1023, 1024, 1025, 2047, 2048, 2049, 5000])


def guarded(size: int, offset: int) -> tuple[bytearray, memoryview]:
    """A target of `size` bytes at `offset`, with guard bytes before and behind it."""
    buffer = bytearray([GUARD]) * (offset + size + 16)
    return buffer, memoryview(buffer)[offset : offset + size]


def assert_guards(buffer: bytearray, offset: int, size: int) -> None:
    assert set(buffer[:offset]) | set(buffer[offset + size :]) <= {GUARD}, "bytes were written outside the target"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WIDTHS), LANES, OFFSETS, OFFSETS, OFFSETS, st.integers(0, 2**32))
def test_kernels_match_their_oracle(width: int, lanes: int, source_at: int, split_at: int, back_at: int, seed: int):
    size = lanes * width
    data = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    source = memoryview(bytearray(source_at) + data.tobytes())[source_at:]

    planes_buffer, planes = guarded(size, split_at)
    kernels.split_planes(source, planes, width)
    assert bytes(planes) == reference.split_planes(data, width).tobytes()
    assert_guards(planes_buffer, split_at, size)

    back_buffer, back = guarded(size, back_at)
    kernels.merge_planes(planes, back, width)
    assert bytes(back) == data.tobytes()
    assert_guards(back_buffer, back_at, size)

    kernels.merge_planes(source, back, width)
    assert bytes(back) == reference.merge_planes(data, width).tobytes()
    assert_guards(back_buffer, back_at, size)


@pytest.mark.parametrize("kernel", [kernels.split_planes, kernels.merge_planes])
class TestArguments:
    @pytest.mark.parametrize("width", [0, 1, 3, 5, 6, 7, 9, 16, 1 << 40, (1 << 64) - 1])
    def test_refuses_other_widths(self, kernel: Kernel, width: int):
        with pytest.raises(ValueError):
            kernel(memoryview(bytes(720)), memoryview(bytearray(720)), width)

    @pytest.mark.parametrize("width", [-1, 1 << 64, 2.0, "2", None])
    def test_refuses_what_is_no_width(self, kernel: Kernel, width: object):
        with pytest.raises(TypeError):
            kernel(memoryview(bytes(16)), memoryview(bytearray(16)), width)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("source", "target"), [(16, 8), (8, 16), (0, 8), (8, 0), (16, 15), (15, 16)])
    def test_refuses_other_lengths(self, kernel: Kernel, source: int, target: int):
        with pytest.raises(ValueError):
            kernel(memoryview(bytes(source)), memoryview(bytearray(target)), 2)

    @pytest.mark.parametrize("width", WIDTHS)
    def test_refuses_a_length_that_is_no_multiple(self, kernel: Kernel, width: int):
        for size in range(1, width):
            target = bytearray([GUARD]) * (3 * width + size)
            with pytest.raises(ValueError):
                kernel(memoryview(bytes(len(target))), memoryview(target), width)
            assert set(target) == {GUARD}

    @pytest.mark.parametrize("shift", [0, 1, 15, 31])
    def test_refuses_overlap(self, kernel: Kernel, shift: int):
        buffer = memoryview(bytearray(range(64)))
        before = bytes(buffer)
        for source, target in ((0, shift), (shift, 0)):
            with pytest.raises(ValueError):
                kernel(buffer[source : source + 32], buffer[target : target + 32], 2)
        assert bytes(buffer) == before

    def test_adjacent_is_no_overlap(self, kernel: Kernel):
        buffer = memoryview(bytearray(64))
        kernel(buffer[:32], buffer[32:], 2)
        kernel(buffer[32:], buffer[:32], 2)

    def test_refuses_a_read_only_target(self, kernel: Kernel):
        target = bytes(16)
        with pytest.raises((BufferError, ValueError)):
            kernel(memoryview(bytes([1]) * 16), target, 2)  # type: ignore[arg-type]
        with pytest.raises((BufferError, ValueError)):
            kernel(memoryview(bytes([1]) * 16), memoryview(bytearray(16)).toreadonly(), 2)
        assert target == bytes(16)

    def test_refuses_strided_buffers(self, kernel: Kernel):
        strided = memoryview(bytearray(32))[::2]
        with pytest.raises((BufferError, ValueError)):
            kernel(strided, memoryview(bytearray(16)), 2)
        with pytest.raises((BufferError, ValueError)):
            kernel(memoryview(bytes(16)), strided, 2)

    def test_refuses_what_is_no_buffer(self, kernel: Kernel):
        with pytest.raises(TypeError):
            kernel(None, memoryview(bytearray(16)), 2)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            kernel(memoryview(bytes(16)), "text", 2)  # type: ignore[arg-type]

    def test_releases_its_buffers(self, kernel: Kernel):
        # A bytearray with a live export can't be resized: a leaked view would show here.
        source, target = bytearray(16), bytearray(16)
        kernel(source, target, 4)  # type: ignore[arg-type]
        for arguments in ((source, target, 3), (source, bytes(16), 2), (source, memoryview(target)[:8], 2)):
            with pytest.raises((BufferError, ValueError)):
                kernel(*arguments)  # type: ignore[arg-type]
        source.append(0)
        del arguments
        target.append(0)


def other_threads_ran_during(call: Callable[[], object]) -> bool:
    """Whether another thread got the GIL while `call` ran in this one.

    No timing: with an endless switch interval this thread gives the GIL away only where a call releases it, and taking
    or releasing a free lock doesn't. So the other thread, once woken, can run only within `call`.
    """
    interval = sys.getswitchinterval()
    go, ready, ran = threading.Lock(), threading.Event(), threading.Event()
    go.acquire()

    def other() -> None:
        ready.set()
        with go:
            ran.set()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    try:
        sys.setswitchinterval(1000)
        go.release()
        call()
        return ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()


@pytest.mark.parametrize("kernel", [kernels.split_planes, kernels.merge_planes])
def test_releases_the_gil(kernel: Kernel):
    source, target = memoryview(bytes(16 << 20)), memoryview(bytearray(16 << 20))
    # A busy machine may not schedule the other thread in time, so it has many chances; one is proof.
    assert any(other_threads_ran_during(lambda: kernel(source, target, 2)) for _ in range(100))


def test_the_proof_of_a_released_gil_can_fail():
    data = bytes(16 << 20)
    assert not any(other_threads_ran_during(lambda: data.count(b"x")) for _ in range(10))
