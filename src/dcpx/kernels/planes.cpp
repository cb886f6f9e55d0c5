#include "planes.hpp"

#include <algorithm>

namespace dcpx {
namespace {

// A block of lanes whose planes fit the first-level cache beside their source; the constant width lets the compiler
// turn the inner loops into shuffles.
constexpr std::size_t kBlock = 1024;

template <std::size_t Width>
void split(const std::uint8_t* __restrict src, std::uint8_t* __restrict dst, std::size_t lanes) noexcept {
    for (std::size_t start = 0; start < lanes; start += kBlock) {
        const std::size_t stop = std::min(lanes, start + kBlock);
        for (std::size_t j = 0; j < Width; ++j) {
            std::uint8_t* __restrict plane = dst + j * lanes;
            for (std::size_t i = start; i < stop; ++i) plane[i] = src[i * Width + j];
        }
    }
}

template <std::size_t Width>
void merge(const std::uint8_t* __restrict src, std::uint8_t* __restrict dst, std::size_t lanes) noexcept {
    for (std::size_t i = 0; i < lanes; ++i)
        for (std::size_t j = 0; j < Width; ++j) dst[i * Width + j] = src[j * lanes + i];
}

}  // namespace

void split_planes(const std::uint8_t* src, std::uint8_t* dst, std::size_t lanes, std::size_t width) noexcept {
    if (width == 2) split<2>(src, dst, lanes);
    if (width == 4) split<4>(src, dst, lanes);
    if (width == 8) split<8>(src, dst, lanes);
}

void merge_planes(const std::uint8_t* src, std::uint8_t* dst, std::size_t lanes, std::size_t width) noexcept {
    if (width == 2) merge<2>(src, dst, lanes);
    if (width == 4) merge<4>(src, dst, lanes);
    if (width == 8) merge<8>(src, dst, lanes);
}

}  // namespace dcpx
