#pragma once
#include "layout.hpp"

namespace dcpx {
// Which lanes a sample looks at: `count` runs of `length` neighbours, `step` apart; all lanes when there are no more
// than `target`.
struct Runs {
    size_t count, length, step;
    Runs(size_t lanes, size_t target)
        : count(lanes <= target ? 1 : target / 32),
          length(lanes <= target ? lanes : 32),
          step(count > 1 ? (lanes - 32) / (count - 1) : 0) {}
};

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
    size_t promised;  // bytes that all would take
    u32 hist[8][256];
};
// Lanes. Joined lanes take some four thousandths less than rotated ones, which no smaller sample would show.
constexpr size_t first_sample(Level level) { return level == Level::fast ? size_t{1} << 12 : size_t{1} << 14; }
inline constexpr size_t least_formed = 64;  // bytes: a shorter chunk keeps the form that it's given
inline constexpr size_t palette_sample = 4096;
inline constexpr unsigned few_values = 16;  // bytes below this may be better off as planes of bits

void take_sample(Sample& sampled, const u8* src, size_t n, Lane lane, Level level) noexcept;

// Which form the chunk's lanes should have, a palette aside: of the samples, which it fills, the given form's first,
// the one that promises least.
Sample& choose_form(Sample (&samples)[3], const u8* src, size_t n, Lane given, Level level) noexcept;
}  // namespace dcpx
