#pragma once
#include "layout.hpp"

namespace dcpx {
// Counts the bytes of the planes in `planes` (a bit mask) over evenly spread runs of about `target` lanes, or over all
// lanes when there are no more than that. Returns the number of lanes counted. hist: width x 256, zeroed here.
size_t sample(const u8* src, size_t lanes, Lane lane, size_t target, unsigned planes, u32 (*hist)[256]) noexcept;

// The bytes that a plane of so many lanes would take, judged by this histogram of those counted; `lanes` where coding
// it isn't worth its time.
size_t estimate(const u32* hist, size_t counted, size_t lanes, Level level) noexcept;

// Whether one symbol is so frequent that all others are better off as patches, where no code is shorter than a bit. It
// leaves half of the patches that a plane may have to what the sample didn't show.
inline bool nearly_constant(u32 most, size_t counted) { return (counted - most) * 128 <= counted; }

// The first look at a chunk: histograms of the planes of a few of its lanes.
struct Sample {
    Lane lane;
    size_t counted;
    u32 hist[8][256];
};
inline constexpr size_t first_sample = 4096;
inline constexpr size_t least_formed = 64;  // bytes: a shorter chunk keeps the form that it's given
inline constexpr unsigned few_values = 16;  // bytes below this may be better off as planes of bits

// Which form the chunk's lanes should have: of the two samples, which it fills, the one that promises less.
Sample& choose_form(Sample (&samples)[2], const u8* src, size_t n, Lane given, Level level) noexcept;
}  // namespace dcpx
