// Sampled histograms: what decides the method and the table of every plane.
#include "histogram.hpp"

#include <algorithm>

#include "lanes.hpp"
#include "tables.hpp"

namespace dcpx {
namespace {
constexpr size_t run = 32;
constexpr size_t ahead = 12;  // runs lie far apart: ask for them before they are needed

template <unsigned W, Form F>
void count_run(const u8* src, size_t n, u64 before, unsigned planes, u32 (*hist)[256]) {
    for (size_t i = 0; i < n; ++i) {
        const u64 v = lanes::shape<W, F>(load_lane<W>(src + i * W), before);
        for (unsigned p = 0; p < W; ++p)
            if (planes >> p & 1) ++hist[p][u8(v >> (8 * p))];
    }
}
}  // namespace

size_t sample(const u8* src, size_t lanes, Lane lane, size_t target, unsigned planes, u32 (*hist)[256]) noexcept {
    std::memset(hist, 0, lane.width * sizeof *hist);
    // The first lane's difference is from 0, and like no other: it would give a code to what a patch does better.
    if (lane.form == Form::differences) src += lane.width, --lanes;
    const size_t runs = lanes <= target ? 1 : target / run;
    const size_t length = lanes <= target ? lanes : run;
    const size_t step = runs > 1 ? (lanes - run) / (runs - 1) : 0;
    for (size_t r = 0; r < runs; ++r) {
        const u8* const p = src + r * step * lane.width;
        if (r + ahead < runs) {
            const u8* const later = p + ahead * step * lane.width;
            for (size_t i = 0; i < run * lane.width; i += 64) __builtin_prefetch(later + i);
            __builtin_prefetch(later + run * lane.width - 1);
        }
        const u64 before = lane.form == Form::differences ? load_le(p - lane.width, lane.width) : 0;
        lanes::with_lane(lane, [&]<unsigned W, Form F>() { count_run<W, F>(p, length, before, planes, hist); });
    }
    return runs * length;
}

namespace {
// What a plane with this histogram would take when coded ideally: bits * 4096, for the lanes counted.
u64 ideal_q12(const u32* hist, size_t counted, unsigned& distinct, u32& most) {
    u64 bits = 0;
    unsigned n = 0;
    most = 0;
    const u32 whole = log2_q12(u32(counted));
    for (unsigned s = 0; s < 256; ++s)
        if (hist[s]) {
            bits += u64{hist[s]} * (whole - log2_q12(hist[s]));
            ++n;
            most = std::max(most, hist[s]);
        }
    distinct = n;
    return bits + u64{n} * 2954;  // a sample looks more orderly than the whole: about (n - 1) / (2 ln 2) bits
}
}  // namespace

size_t estimate(const u32* hist, size_t counted, size_t lanes, Level level) noexcept {
    unsigned distinct;
    u32 most;
    u64 bits = ideal_q12(hist, counted, distinct, most);
    if (level == Level::fast && distinct > 1)  // no code is shorter than a bit
        bits = nearly_constant(most, counted) ? (counted - most) * (u64{8} * patch_bytes * 4096)
                                              : std::max(bits, u64{counted} * 4096);
    const u64 bytes = bits / counted * lanes / (8 * 4096) + 48 + distinct;
    const u64 limit = level == Level::fast ? lanes - lanes / 16 : lanes - lanes / 128;
    return bytes < limit ? bytes : lanes;
}

static void take(Sample& sampled, const u8* src, size_t n, Lane lane) noexcept {
    sampled.lane = lane;
    const size_t lanes = n / lane.width;
    sampled.counted = sample(src, lanes, lane, first_sample, (1u << lane.width) - 1, sampled.hist);
}

// A form must pay for itself: a sample is no proof.
Sample& choose_form(Sample (&samples)[2], const u8* src, size_t n, Lane given, Level level) noexcept {
    Sample &as_given = samples[0], &other = samples[1];
    take(as_given, src, n, given);
    if (n < least_formed) return as_given;
    if (given.width > 1) {
        take(other, src, n, {given.width, Form::differences});
    } else {
        const u32* const hist = as_given.hist[0];
        if (std::any_of(hist + few_values, hist + 256, [](u32 count) { return count != 0; })) return as_given;
        take(other, src, n, {8, Form::bits});
    }
    const auto total = [&](const Sample& s) {
        const size_t lanes = n / s.lane.width;
        size_t bytes = n % s.lane.width;
        for (unsigned p = 0; p < s.lane.width; ++p) bytes += estimate(s.hist[p], s.counted, lanes, level);
        return bytes;
    };
    return total(other) + n / 256 < total(as_given) ? other : as_given;
}
}  // namespace dcpx
