"""The command `dcpx`: its options for all commands, its errors in one line, and its exit status.

0    done; for `verify` the checkpoint is whole, for `diff --fail-if-different` there is no difference
1    not: it is damaged, or different
2    it can't be told, there is no such checkpoint, or the arguments are wrong
130  interrupted
141  nobody reads standard output any more
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.shell_completion import shell_complete

from ..errors import DcpxError
from .changing import convert, recode, report
from .checking import latest, verify
from .looking import cat, diff, estimate, inspect, stats
from .text import printable

__all__ = ["dcpx", "main", "run"]

CANNOT_TELL = 2

_DEBUG = "--debug"
_COMPLETE = "_DCPX_COMPLETE"


def _print_versions(context: click.Context, option: click.Parameter, given: bool) -> None:
    if given and not context.resilient_parsing:
        from .versions import print_versions

        print_versions()
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Print the versions that a report of a fault needs.",
)
@click.option(_DEBUG, is_flag=True, expose_value=False, help="Show the traceback of an error; it may stand anywhere.")
def dcpx() -> None:
    """See into checkpoints of dcpx and of PyTorch Distributed Checkpoint, verify, compare and convert them.

    PATH is a local directory, or an address such as s3://bucket/run/step-10.

    \b
    dcpx inspect run/step-1000
    dcpx verify s3://bucket/run/step-1000
    dcpx diff run/step-900 run/step-1000
    dcpx report run/step-* -o report.html
    dcpx inspect "$(dcpx latest run)" --filter "*.bias" --sort size

    Shell completion: eval "$(_DCPX_COMPLETE=bash_source dcpx)", or zsh_source, fish_source.
    """


for command in (inspect, verify, diff, cat, stats, estimate, report, convert, recode, latest):
    dcpx.add_command(command)


def main() -> None:
    """Run the command that the process was given, and end with its status."""
    sys.stdout, sys.stderr = _usable(sys.stdout), _usable(sys.stderr)
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        # What is still buffered would fail again when the interpreter ends, which would then choose the status.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _usable(stream: Any) -> Any:
    """The stream, which escapes what its encoding lacks; one that goes nowhere if it was closed."""
    if stream is None:
        return open(os.devnull, "w")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def run(arguments: list[str]) -> int:
    """Run one command; its exit status."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = _DEBUG in own
    if debug:
        arguments = [one for one in own if one != _DEBUG] + arguments[len(own) :]
    gc.disable()  # a command is short, and makes hundreds of thousands of records that stay
    warnings.showwarning = _show_warning
    interrupted = threading.Event()
    with _heard(interrupted):
        try:
            if instruction := os.environ.get(_COMPLETE):
                return shell_complete(dcpx, {}, "dcpx", _COMPLETE, instruction)
            # Not by click's own main, which takes a pipe that is closed, and an EOFError, for the user's wish to end.
            with dcpx.make_context("dcpx", arguments) as context:
                status = dcpx.invoke(context)
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
        except click.exceptions.Exit as done:
            return done.exit_code
        except BrokenPipeError:
            return 128 + signal.SIGPIPE
        except (KeyboardInterrupt, click.Abort):
            return 128 + signal.SIGINT
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (DcpxError, ValueError, OSError, ImportError, MemoryError) as error:
            if interrupted.is_set():
                return 128 + signal.SIGINT
            if isinstance(error.__cause__, BrokenPipeError):
                return 128 + signal.SIGPIPE
            if debug:
                traceback.print_exc()
            print(f"dcpx: {_said(error)}", file=sys.stderr)
            return CANNOT_TELL


@contextmanager
def _heard(interrupted: threading.Event) -> Iterator[None]:
    """Notes an interrupt: an extension module whose import one ends says so by an error of another kind."""

    def handle(number: int, frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _said(error: BaseException) -> str:
    """An error in one line, with its remedy."""
    if isinstance(error, (DcpxError, ValueError, ImportError)) and str(error):
        return printable(str(error))
    return printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _show_warning(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    print(f"dcpx: {printable(str(message))}", file=sys.stderr)
