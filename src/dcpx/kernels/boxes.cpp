#include "boxes.hpp"

#include <algorithm>
#include <cstring>

namespace dcpx {

std::size_t copy_part(const Part& part, const std::uint8_t* src, std::size_t begin, std::size_t size,
                      std::uint8_t* dst) noexcept {
    // The part as runs of adjacent bytes: inner dimensions that are taken whole are one with the next outer one.
    std::size_t axis = part.dimensions, step = part.width, run = part.width, start = 0;
    while (axis > 0) {
        --axis;
        run = part.sizes[axis] * step;
        start = part.offsets[axis] * step;
        step *= part.shape[axis];
        if (part.sizes[axis] != part.shape[axis]) break;
    }
    // The outer dimensions [0, axis) count the runs; strides in bytes.
    std::size_t strides[max_dimensions], rows = 1;
    for (std::size_t i = axis; i-- > 0;) {
        strides[i] = step;
        start += part.offsets[i] * step;
        step *= part.shape[i];
        rows *= part.sizes[i];
    }
    // The last row that doesn't begin behind the range's first byte: those before it end before the range.
    std::size_t at[max_dimensions] = {}, row = 0, ahead = begin > start ? begin - start : 0;
    for (std::size_t i = 0; i < axis; ++i) {
        at[i] = std::min(ahead / strides[i], part.sizes[i] - 1);
        ahead -= at[i] * strides[i];
        row = row * part.sizes[i] + at[i];
    }
    const std::size_t end = begin + size;
    std::size_t copied = 0;
    for (; row < rows; ++row) {
        std::size_t from = start;
        for (std::size_t i = 0; i < axis; ++i) from += at[i] * strides[i];
        if (from >= end) break;
        if (from + run > begin) {
            const std::size_t first = std::max(from, begin), last = std::min(from + run, end);
            std::memcpy(dst + row * run + (first - from), src + (first - begin), last - first);
            copied += last - first;
        }
        for (std::size_t i = axis; i-- > 0;) {
            if (++at[i] < part.sizes[i]) break;
            at[i] = 0;
        }
    }
    return copied;
}

}  // namespace dcpx
