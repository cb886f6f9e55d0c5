"""dcpx: the extension system of PyTorch Distributed Checkpoint, done properly.

Importing dcpx imports neither torch nor numpy; each public name brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from . import _torch_bridge
from .errors import (
    CorruptError,
    DcpxError,
    DcpxWarning,
    ExtensionError,
    LimitError,
    LoadError,
    LostPointerError,
    MissingFileError,
    NotFoundError,
    ReplacedError,
    SaveError,
    TruncatedError,
    TrustError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from .api import load, save
    from .background import SaveHandle, async_save
    from .catalog.limits import Limits
    from .catalog.lost import restore_pointer
    from .extension import Extension, StreamTransformExtension
    from .extensions.chain import Chain
    from .extensions.pack import Pack
    from .extensions.zstandard import ZStandard
    from .formats.conversion import Converted, convert
    from .formats.whole import load_all
    from .loading.reader import Reader
    from .registry import ExtensionRegistry, default_registry
    from .saving.writer import Writer
    from .trainers.install import install, uninstall
    from .views.diff import Difference, ElementDifference, ItemDifference, diff
    from .views.estimate import DtypeEstimate, Estimate, LevelEstimate, estimate
    from .views.extract import Extracted, extract
    from .views.findings import Report
    from .views.latest import Latest, latest
    from .views.report.make import report
    from .views.stats import Statistics, TensorStatistics, stats
    from .views.summary import Item, Part, Summary, inspect
    from .views.verify import verify

__all__ = [
    "Chain",
    "Converted",
    "CorruptError",
    "DcpxError",
    "DcpxWarning",
    "Difference",
    "DtypeEstimate",
    "ElementDifference",
    "Estimate",
    "Extension",
    "ExtensionError",
    "ExtensionRegistry",
    "Extracted",
    "Item",
    "ItemDifference",
    "Latest",
    "LevelEstimate",
    "LimitError",
    "Limits",
    "LoadError",
    "LostPointerError",
    "MissingFileError",
    "NotFoundError",
    "Pack",
    "Part",
    "Reader",
    "ReplacedError",
    "Report",
    "SaveError",
    "SaveHandle",
    "Statistics",
    "StreamTransformExtension",
    "Summary",
    "TensorStatistics",
    "TruncatedError",
    "TrustError",
    "UnsupportedError",
    "Writer",
    "ZStandard",
    "async_save",
    "convert",
    "default_registry",
    "diff",
    "estimate",
    "extract",
    "inspect",
    "install",
    "latest",
    "load",
    "load_all",
    "report",
    "restore_pointer",
    "save",
    "stats",
    "uninstall",
    "verify",
]

__version__ = "0.1.0.dev0"
"""The one place that says it: the build reads it from here, and no installation is needed to know it."""

_HOMES = {
    "Chain": "extensions.chain",
    "Converted": "formats.conversion",
    "Difference": "views.diff",
    "DtypeEstimate": "views.estimate",
    "ElementDifference": "views.diff",
    "Estimate": "views.estimate",
    "Extension": "extension",
    "ExtensionRegistry": "registry",
    "Extracted": "views.extract",
    "Item": "views.summary",
    "ItemDifference": "views.diff",
    "Latest": "views.latest",
    "LevelEstimate": "views.estimate",
    "Limits": "catalog.limits",
    "Pack": "extensions.pack",
    "Part": "views.summary",
    "Reader": "loading.reader",
    "Report": "views.findings",
    "SaveHandle": "background",
    "Statistics": "views.stats",
    "StreamTransformExtension": "extension",
    "Summary": "views.summary",
    "TensorStatistics": "views.stats",
    "Writer": "saving.writer",
    "ZStandard": "extensions.zstandard",
    "async_save": "background",
    "convert": "formats.conversion",
    "default_registry": "registry",
    "diff": "views.diff",
    "estimate": "views.estimate",
    "extract": "views.extract",
    "inspect": "views.summary",
    "install": "trainers.install",
    "latest": "views.latest",
    "load": "api",
    "load_all": "formats.whole",
    "report": "views.report.make",
    "restore_pointer": "catalog.lost",
    "save": "api",
    "stats": "views.stats",
    "uninstall": "trainers.install",
    "verify": "views.verify",
}

_torch_bridge.connect()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'dcpx' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"dcpx.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
