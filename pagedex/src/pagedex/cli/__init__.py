"""The command line: thin commands over ``building``, ``search`` and ``checking``."""

from __future__ import annotations

import sys

from pagedex.errors import PagedexError


def main() -> None:
    """The command ``pagedex``. An error is one line and exit status 2; Ctrl-C is 130."""
    from pagedex.cli.commands import app

    try:
        app(prog_name="pagedex")
    except PagedexError as error:
        print(f"pagedex: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read the output had enough, as with head.
        sys.stderr.close()
        raise SystemExit(141) from None
