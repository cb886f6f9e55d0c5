"""The codecs of a frame's chunks: a table from codec id to codec. Each is specified in `spec/`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .container import Container
from .contract import Codec, CodecError, Coded, Encoder, Lanes
from .float import Float
from .planes import Planes
from .raw import Raw
from .zstd import Zstd

__all__ = ["CODECS", "Codec", "CodecError", "Coded", "Encoder", "Lanes"]

_ALL: tuple[Codec, ...] = (Raw(), Zstd(), Planes(), Float(), Container())

CODECS: Mapping[int, Codec] = MappingProxyType({codec.id: codec for codec in _ALL})
"""By id; ids are part of the format and never reused."""
