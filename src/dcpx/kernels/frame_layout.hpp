// The numbers of spec/format.md, sections 3 to 5.
#pragma once
#include "float/bits.hpp"

namespace dcpx::frame_layout {

inline constexpr char magic[] =
    "\xd7"
    "DCPX\r\n\x1a";
inline constexpr char final_magic[] = "XPCD";
inline constexpr size_t prefix_size = 20, hash_size = 8, max_header = size_t{64} << 10;
inline constexpr size_t min_chunk = 4096;
inline constexpr size_t entry_size = 16, final_size = 32, footer_size = 16;
inline constexpr u8 kind_data = 1, kind_final = 2, major = 1;
inline constexpr u8 codec_raw = 0, codec_float = 3, codec_container = 4;
inline constexpr unsigned whole = 0, before = 1, after = 2;  // parameters of codec 4
inline constexpr u8 critical = 0x80, field_key = 0x01, field_hint = 0x02, field_checkpoint = 0x03, field_codecs = 0x81;

}  // namespace dcpx::frame_layout
