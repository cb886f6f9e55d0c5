"""``python -m pagedex``: the command line."""

from pagedex.cli import main

main()
