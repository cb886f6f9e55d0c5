// Sampled histograms: what decides the method and the table of every plane.
#include "histogram.hpp"

#include "loops.hpp"
#include "tables.hpp"

namespace dcpx {
namespace {
constexpr size_t run = 32;
constexpr size_t ahead = 12;  // runs lie far apart: ask for them before they are needed

template <unsigned W>
void count_run(const u8* src, size_t n, bool rot, unsigned planes, u32 (*hist)[256]) {
    for (size_t i = 0; i < n; ++i) {
        u64 v = load_lane<W>(src + i * W);
        if (rot) v = loops::rotate_left(v, W);
        for (unsigned p = 0; p < W; ++p)
            if (planes >> p & 1) ++hist[p][u8(v >> (8 * p))];
    }
}
}  // namespace

size_t sample(const u8* src, size_t lanes, Lane lane, size_t target, unsigned planes, u32 (*hist)[256]) noexcept {
    std::memset(hist, 0, lane.width * sizeof *hist);
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
        switch (lane.width) {
            case 1:
                count_run<1>(p, length, false, planes, hist);
                break;
            case 2:
                count_run<2>(p, length, lane.rotated, planes, hist);
                break;
            case 4:
                count_run<4>(p, length, lane.rotated, planes, hist);
                break;
            default:
                count_run<8>(p, length, lane.rotated, planes, hist);
                break;
        }
    }
    return runs * length;
}

u64 ideal_q12(const u32* hist, size_t counted, unsigned* distinct) noexcept {
    u64 bits = 0;
    unsigned n = 0;
    const u32 whole = log2_q12(u32(counted));
    for (unsigned s = 0; s < 256; ++s)
        if (hist[s]) {
            bits += u64{hist[s]} * (whole - log2_q12(hist[s]));
            ++n;
        }
    *distinct = n;
    return bits + u64{n} * 2954;  // a sample looks more orderly than the whole: about (n - 1) / (2 ln 2) bits
}
}  // namespace dcpx
