"""`python -m dcpx`: the same as the command `dcpx`."""

from __future__ import annotations

from .cli.main import main

if __name__ == "__main__":
    main()
