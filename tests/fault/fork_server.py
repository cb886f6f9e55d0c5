"""A process that has imported torch and dcpx under the shim, and forks a child for every case.

A case then takes what it takes itself, not the seconds of an import; and it may die.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["Ended", "ForkServer"]

_ROOT = Path(__file__).parents[2]
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no thread but the main one, before a fork
_PATIENCE = 60  # seconds after which a case hangs: it is killed, and says where its threads were


@dataclass(frozen=True)
class Ended:
    """How a child ended: `value` is what its function returned, `signal` is what killed it."""

    value: Any = None
    signal: int = 0


class ForkServer:
    """Runs functions of importable modules in children; a context manager."""

    def __init__(self, shim: Path) -> None:
        self._connection, theirs = Pipe()
        search = os.pathsep.join([str(_ROOT), *filter(None, sys.path)])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.fault.fork_server", str(theirs.fileno())],
            env={**os.environ, **_SINGLE, "LD_PRELOAD": str(shim), "PYTHONPATH": search},
            pass_fds=[theirs.fileno()],
            cwd=_ROOT,
        )
        theirs.close()

    def end_of(self, function: Callable[..., Any], *arguments: Any) -> Ended:
        """Call `function` in a child and say how that ended. What it raises is raised here."""
        self._connection.send((function, arguments))
        status, answer = self._connection.recv()
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if not answer:
            assert killed not in (0, signal.SIGALRM), f"{function.__name__}{arguments} ended with status {status}"
            return Ended(signal=killed)
        value, error = pickle.loads(answer)
        if error is not None:
            raise error
        return Ended(value)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns in a child, which must live to return it."""
        ended = self.end_of(function, *arguments)
        assert not ended.signal, f"killed by signal {ended.signal}"
        return ended.value

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._process.wait(30)


def _serve(connection: Connection) -> None:
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        assert len(os.listdir("/proc/self/task")) == 1, "a child would have none of the server's threads"
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.close(reader)
            _answer(writer, function, arguments)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            answer = stream.read()
        connection.send((os.waitpid(child, 0)[1], answer))


def _answer(writer: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    signal.alarm(_PATIENCE)
    value, raised = None, None
    try:
        value = function(*arguments)
    except BaseException as error:  # noqa: BLE001 (raised in the test)
        raised = error
        if sys.version_info >= (3, 11):
            error.add_note(f"in {function.__name__}{arguments}")
    with os.fdopen(writer, "wb") as stream:
        stream.write(pickle.dumps((value, raised)))
    os._exit(0)


def _main(descriptor: int) -> None:
    import torch

    torch.set_num_threads(1)
    from . import checkpoints

    with tempfile.TemporaryDirectory() as directory:
        checkpoints.warm_up(Path(directory))
    gc.collect()
    gc.freeze()  # what the children share stays shared
    _serve(Connection(descriptor))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _main(int(sys.argv[1]))
