"""The codecs of a frame's chunks: a table from codec id to codec. Each is specified in `spec/`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .contract import Codec, CodecError, Coded, Encoder, Lanes
from .float import Float
from .planes import Planes
from .raw import Raw
from .zstd import Zstd

__all__ = ["CODECS", "Codec", "CodecError", "Coded", "Encoder", "Lanes"]

CODECS: Mapping[int, Codec] = MappingProxyType({codec.id: codec for codec in (Raw(), Zstd(), Planes(), Float())})
"""By id; ids are part of the format and never reused."""
