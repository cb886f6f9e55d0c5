// Byte planes: lane i's byte j moves to plane j, position i. Pure loops: no allocation, no exceptions, any alignment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dcpx {

constexpr bool is_lane_width(std::size_t width) { return width == 2 || width == 4 || width == 8; }

// Splits `lanes` lanes of `width` bytes (2, 4 or 8) at `src` into `width` planes of `lanes` bytes each, one after the
// other at `dst`. Both buffers hold lanes * width bytes and don't overlap.
void split_planes(const std::uint8_t* src, std::uint8_t* dst, std::size_t lanes, std::size_t width) noexcept;

// The inverse of split_planes.
void merge_planes(const std::uint8_t* src, std::uint8_t* dst, std::size_t lanes, std::size_t width) noexcept;

}  // namespace dcpx
