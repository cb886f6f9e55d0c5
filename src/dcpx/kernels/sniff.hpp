// What samples tell of a buffer before it is coded: how its bytes group into lanes, and whether it repeats itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "float/float_codec.hpp"

namespace dcpx {

// The grouping whose byte planes have the least order-0 entropy, from at most 8 KiB of samples. A wrong guess costs
// bytes, never correctness.
Lane sniff_lane(const std::uint8_t* src, std::size_t n) noexcept;

// How much likelier than by chance a lane's top byte equals the one before it, in 1024ths, from 4096 sampled lanes:
// about 0 for weights, high where neighbours resemble each other, such as an optimizer's second moments.
unsigned runs(const std::uint8_t* src, std::size_t n, Lane lane) noexcept;

// Of the sampled 8-byte words, how many of 1024 stood in an earlier sample: 0 for weights, high where matches pay.
unsigned repeats(const std::uint8_t* src, std::size_t n) noexcept;

}  // namespace dcpx
