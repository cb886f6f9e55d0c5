// Copying a rectangular part of an array out of a range of its bytes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dcpx {

inline constexpr std::size_t max_dimensions = 64;

// A part of an array in C order: `offsets` and `sizes` lie within `shape`, no size is 0. An element has `width` bytes.
struct Part {
    std::size_t dimensions;
    std::size_t shape[max_dimensions], offsets[max_dimensions], sizes[max_dimensions];
    std::size_t width;
};

// Copy to `dst`, which holds the part alone in C order, what `src` has of it: the array's bytes begin to begin + size
// - 1. Returns how many bytes that were.
std::size_t copy_part(const Part& part, const std::uint8_t* src, std::size_t begin, std::size_t size,
                      std::uint8_t* dst) noexcept;

}  // namespace dcpx
