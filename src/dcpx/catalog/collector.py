"""A pause of Python's garbage collector while many objects are made that all live on."""

from __future__ import annotations

import gc

from .setting import HeldSetting

__all__ = ["paused_collector"]

paused_collector = HeldSetting(gc.isenabled, lambda on: gc.enable() if on else gc.disable(), False)
"""No garbage collection in a `with` block of this.

DCP's plans and metadata are some ten objects an item and hold no cycles, but the collector goes through all of them
again and again: with 20,000 items that is half of the time.
"""
