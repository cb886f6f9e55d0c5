"""The native module's corners: whatever is done to it, it raises and doesn't crash, hang or mix up its state."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from xxhash import xxh3_128_hexdigest

from dcpx import kernels


def test_a_payload_that_was_never_made_has_no_bytes():
    bare = kernels.Payload.__new__(kernels.Payload)
    with pytest.raises(BufferError, match="never made"):
        memoryview(bare)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kernels.Payload()


def test_a_hasher_that_was_never_made_hashes_nothing():
    bare = kernels.Xxh3_128.__new__(kernels.Xxh3_128)
    with pytest.raises(TypeError):
        bare.update(b"abc")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("native", ["decode_chunks", "read_chunks"])
def test_a_list_of_jobs_that_is_emptied_while_it_is_read(native: str):
    class Emptying:
        """A number that empties the list of jobs when it is asked for its value."""

        def __init__(self, value: int) -> None:
            self.value = value

        def __index__(self) -> int:
            jobs.clear()
            return self.value

        __int__ = __index__

    def job(number: Any) -> tuple[Any, ...]:
        where: tuple[Any, ...] = (bytearray(30),) if native == "decode_chunks" else (0, 30)
        return (*where, bytearray(6), number, 0, 0, 9)

    jobs = [job(Emptying(0)), *(job(number) for number in range(1000))]
    call = kernels.decode_chunks if native == "decode_chunks" else lambda jobs: kernels.read_chunks(-1, jobs)
    assert call(jobs) == list(range(1001))
    assert jobs == []


def test_two_threads_in_one_hasher_are_told_so():
    data = bytes(256 << 20)
    hasher, errors, done = kernels.Xxh3_128(), [], 0
    lock, start = threading.Lock(), threading.Barrier(2)

    def update() -> None:
        nonlocal done
        start.wait()
        try:
            hasher.update(data)
            with lock:
                done += 1
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=update) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("two threads" in error for error in errors)
    assert done + len(errors) == 2
    assert hasher.hexdigest() == xxh3_128_hexdigest(data * done)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_beside_threads_that_encode_leaves_no_lock_behind():
    program = """
import os, threading, warnings
import numpy as np
from dcpx import kernels
warnings.simplefilter("ignore")  # of forking with threads
data = np.random.default_rng(0).integers(0, 9, 64, np.uint8).tobytes()
stop = False

def encode():
    while not stop:
        kernels.take_chunk(data)

threads = [threading.Thread(target=encode) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(300):
    child = os.fork()
    if child == 0:
        for _ in range(3):
            kernels.take_chunk(data)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop = True
for thread in threads:
    thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


def imported(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import dcpx.kernels"],
        env=os.environ | {"DCPX_FLOAT_PATH": path},
        capture_output=True,
        text=True,
    )


def test_unknown_instructions_are_refused():
    found = imported("avx-512")
    assert found.returncode != 0
    assert "ValueError: DCPX_FLOAT_PATH must be portable, avx2, avx512 or best, not 'avx-512'" in found.stderr
    for path in ("", "portable", "best"):
        assert imported(path).returncode == 0


def test_instructions_that_this_cpu_lacks_are_refused():
    for path in ("avx2", "avx512"):
        found = imported(path)
        if kernels.use_instructions(path):
            assert found.returncode == 0, found.stderr
        else:
            assert "this CPU lacks these instructions" in found.stderr
    assert kernels.use_instructions("best")
