"""The golden files of descriptors: items that went through several transforms, and what must not be taken for any."""

from __future__ import annotations

import io

import zstandard
from forge import Chunk, frame

from dcpx import ExtensionRegistry
from dcpx.errors import DcpxError, UnsupportedError

PACK, ZSTD = "stream.pack@dcpx/1", "stream.zstd/1"
RAW = b"what went through several transforms, one after another"


def packed(data: bytes) -> bytes:
    return frame([Chunk(data)])


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def opened(data: bytes, descriptors: list[str]) -> bytes | DcpxError:
    """The item with its transforms undone, or the error that refuses it."""
    try:
        stream: object = io.BytesIO(data)
        for extension in reversed(ExtensionRegistry().from_descriptor_list(descriptors)):
            stream = extension.transform_from(stream)  # type: ignore[attr-defined]
        return stream.read()  # type: ignore[attr-defined, no-any-return]
    except DcpxError as error:
        return error


NESTED = f"stream.chain@dcpx/1:{ZSTD},stream.chain@dcpx/1:{PACK}%2C{ZSTD},stream.chain@dcpx/1:"

# name: (bytes, descriptors, the raw item)
GOOD_ITEMS: dict[str, tuple[bytes, list[str], bytes]] = {
    "no_descriptor.item": (RAW, [], RAW),
    "list_pack_zstd.item": (zstd(packed(RAW)), [PACK, ZSTD], RAW),
    "list_zstd_pack.item": (packed(zstd(RAW)), [ZSTD, PACK], RAW),
    "chain_pack_zstd.item": (zstd(packed(RAW)), [f"stream.chain@dcpx/1:{PACK},{ZSTD}"], RAW),
    "chain_of_one.item": (packed(RAW), [f"stream.chain@dcpx/1:{PACK}"], RAW),
    "chain_empty.item": (RAW, ["stream.chain@dcpx/1:"], RAW),
    "chain_nested.item": (zstd(packed(zstd(RAW))), [NESTED], RAW),
    "chain_in_list.item": (zstd(packed(zstd(RAW))), [ZSTD, f"stream.chain@dcpx/1:{PACK},{ZSTD}"], RAW),
    "zstd_minor_version.item": (zstd(RAW), ["stream.zstd/1.7"], RAW),
}

# name: (bytes, descriptors, the class of the error, a phrase of what is wrong)
BAD_ITEMS: dict[str, tuple[bytes, list[str], type[DcpxError], str]] = {
    "bad_descriptor_unknown.item": (RAW, ["stream.rot13@else/1"], UnsupportedError, "an unknown transform"),
    "bad_descriptor_form.item": (RAW, ["/1"], UnsupportedError, "a descriptor without a name"),
    "bad_descriptor_long.item": (RAW, ["stream.zstd/1" + "0" * 1012], UnsupportedError, "1,025 characters"),
    "bad_descriptor_pack_2.item": (packed(RAW), ["stream.pack@dcpx/2"], UnsupportedError, "version 2 of the frame"),
    "bad_descriptor_zstd_2.item": (zstd(RAW), ["stream.zstd/2"], UnsupportedError, "version 2 of stream.zstd"),
    "bad_descriptor_zstd_minor.item": (zstd(RAW), ["stream.zstd/1.x"], UnsupportedError, "a minor version x"),
    "bad_chain_version.item": (RAW, ["stream.chain@dcpx/2:"], UnsupportedError, "version 2 of the chain"),
    "bad_chain_part.item": (RAW, [f"stream.chain@dcpx/1:{ZSTD},"], UnsupportedError, "an empty part of a chain"),
    "bad_chain_comma.item": (
        zstd(packed(RAW)),
        [f"stream.chain@dcpx/1:{PACK}%2C{ZSTD}"],
        UnsupportedError,
        "one part in which a comma is escaped",
    ),
}
