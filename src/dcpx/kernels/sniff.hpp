// What samples tell of a buffer before it is coded: how its bytes group into lanes, and whether it repeats itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "float/float_codec.hpp"

namespace dcpx {

// The grouping whose byte planes have the least order-0 entropy, from at most 8 KiB of samples. A wrong guess costs
// bytes, never correctness.
Lane sniff_lane(const std::uint8_t* src, std::size_t n) noexcept;

// Of the sampled strings of 16 bytes, how many of 1024 stood in an earlier sample: 0 for weights, high where matches
// pay. Each begins at a multiple of 8. Shorter ones would find integers and masks alike that are only of few values.
unsigned repeats(const std::uint8_t* src, std::size_t n) noexcept;

}  // namespace dcpx
