"""Which files are tests, by the customs of each language."""

from __future__ import annotations

import re

_FOLDERS = frozenset({"test", "tests", "__tests__"})
_NAMES = re.compile(
    r"""(?x)
    test_.*\.py | .*_tests?\.(py|go|cpp|cc|c|cu|rs|sh) | conftest\.py | tests?\.(py|rs)
    | .*\.(test|spec)\.[cm]?[jt]sx? | .*Tests?\.java | test[-_].*\.sh | .*\.bats
    """
)


def is_test(path: str) -> bool:
    """Whether a file tests others, by its name or a folder on its path (a package called
    ``testing`` is a library for those who write tests)."""
    *folders, name = path.split("/")
    if _NAMES.fullmatch(name):
        return True
    return any(folder in _FOLDERS for folder in folders)
