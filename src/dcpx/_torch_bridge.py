"""Makes dcpx's extensions pass torch's own `isinstance` checks without importing torch.

DCP's reader applies only what is an instance of *its* `StreamTransformExtension`, and skips everything else without a
word. So dcpx's class is registered as a virtual subclass of torch's: at once where torch's module is already
imported, else at the moment it is.
"""

from __future__ import annotations

from types import ModuleType

from .after_import import after_import

TORCH_EXTENSION_MODULE = "torch.distributed.checkpoint._extension"


def connect() -> None:
    """Register dcpx's contract with torch's, now or as soon as torch's module is imported."""
    after_import(TORCH_EXTENSION_MODULE, _register, is_ready=lambda module: hasattr(module, "StreamTransformExtension"))


def _register(module: ModuleType) -> None:
    from .extension import Extension, StreamTransformExtension

    module.Extension.register(Extension)
    module.StreamTransformExtension.register(StreamTransformExtension)
