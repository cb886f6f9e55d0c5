"""What dcpx warns of."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from dcpx import DcpxWarning


def warned(call: Callable[[], object]) -> list[str]:
    """The texts of dcpx's own warnings during the call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if issubclass(one.category, DcpxWarning)]
