// Sampled histograms: what decides the method and the table of every plane.
#include "histogram.hpp"

#include <algorithm>

#include "lanes.hpp"
#include "tables.hpp"

namespace dcpx {
namespace {
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
    const Runs runs(lanes, target);
    const size_t bytes = runs.length * lane.width;
    for (size_t r = 0; r < runs.count; ++r) {
        const u8* const p = src + r * runs.step * lane.width;
        if (r + ahead < runs.count) {
            const u8* const later = p + ahead * runs.step * lane.width;
            for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(later + i);
            __builtin_prefetch(later + bytes - 1);
        }
        const u64 before = lane.form == Form::differences ? load_le(p - lane.width, lane.width) : 0;
        lanes::with_lane(lane, [&]<unsigned W, Form F>() { count_run<W, F>(p, runs.length, before, planes, hist); });
    }
    return runs.count * runs.length;
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

void take_sample(Sample& sampled, const u8* src, size_t n, Lane lane, Level level) noexcept {
    sampled.lane = lane;
    const size_t lanes = n / lane.width;
    sampled.counted = sample(src, lanes, lane, first_sample(level), (1u << lane.width) - 1, sampled.hist);
    sampled.promised = n % lane.width;
    for (unsigned p = 0; p < lane.width; ++p)
        sampled.promised += estimate(sampled.hist[p], sampled.counted, lanes, level);
}

// A form must pay for itself: a sample is no proof.
Sample& choose_form(Sample (&samples)[3], const u8* src, size_t n, Lane given, Level level) noexcept {
    Sample &as_given = samples[0], &other = samples[1], &joined = samples[2];
    take_sample(as_given, src, n, given, level);
    if (n < least_formed) return as_given;
    if (given.width > 1) {
        take_sample(other, src, n, {given.width, Form::differences}, level);
    } else {
        const u32* const hist = as_given.hist[0];
        if (std::any_of(hist + few_values, hist + 256, [](u32 count) { return count != 0; })) return as_given;
        take_sample(other, src, n, {8, Form::bits}, level);
    }
    Sample& chosen = other.promised + n / 256 < as_given.promised ? other : as_given;
    if (level == Level::fast || given.form != Form::rotated) return chosen;
    take_sample(joined, src, n, {given.width, Form::joined}, level);
    return joined.promised + n / 1024 < chosen.promised ? joined : chosen;
}
}  // namespace dcpx
