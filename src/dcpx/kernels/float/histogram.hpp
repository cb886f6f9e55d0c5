#pragma once
#include "layout.hpp"

namespace dcpx {
// Counts the bytes of the planes in `planes` (a bit mask) over evenly spread runs of about `target` lanes, or over all
// lanes when there are no more than that. Returns the number of lanes counted. hist: width x 256, zeroed here.
size_t sample(const u8* src, size_t lanes, Lane lane, size_t target, unsigned planes, u32 (*hist)[256]) noexcept;

// What a plane with this histogram would take when coded ideally: bits * 4096, for the lanes counted.
u64 ideal_q12(const u32* hist, size_t counted, unsigned* distinct) noexcept;
}  // namespace dcpx
