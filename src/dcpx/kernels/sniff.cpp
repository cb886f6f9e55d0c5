#include "sniff.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "float/bits.hpp"

namespace dcpx {
namespace {

constexpr size_t sample_bytes = 1024;  // one sample; a multiple of every lane width
constexpr size_t most_samples = 8;

using Histogram = std::array<u32, 256>;

struct Samples {
    const u8* src;
    size_t count, stride;

    Samples(const u8* s, size_t n) : src(s), count(std::clamp<size_t>(n >> 17, 1, most_samples)) {
        stride = count > 1 ? (n - sample_bytes) / (count - 1) / 8 * 8 : 0;
    }
};

// log2(i!) in 1024ths. Made while the library is loaded, not at the first call: a fork in the middle of that would
// leave its guard locked.
constexpr size_t factorials = most_samples * sample_bytes + 256;
const std::array<u32, factorials> log_factorial = [] {
    std::array<u32, factorials> table{};
    double sum = 0;
    for (size_t i = 1; i < factorials; ++i)
        table[i] = static_cast<u32>(std::lround((sum += std::log2(static_cast<double>(i))) * 1024));
    return table;
}();

// Bits that an adaptive order-0 coder takes for n symbols with these counts, log2((n + 255)! / (255! prod count!)):
// unlike the entropy of a sample it doesn't fall with the sample's size, which would favour many short planes. In
// 1024ths of a bit: integers add up faster, and to the same sum everywhere.
u32 adaptive_cost(const Histogram& counts, size_t n) {
    u32 gain = 0;
    for (const u32 count : counts) gain += log_factorial[count];
    return log_factorial[n + 255] - log_factorial[255] - gain;
}

void count(const Samples& samples, Lane lane, std::array<Histogram, 8>& planes) {
    for (size_t s = 0; s < samples.count; ++s) {
        const u8* const at = samples.src + s * samples.stride;
        for (size_t i = 0; i < sample_bytes; i += lane.width) {
            u64 value = load_le(at + i, lane.width);
            if (lane.form == Form::rotated) value = value << 1 | value >> (8 * lane.width - 1);
            for (unsigned p = 0; p < lane.width; ++p) ++planes[p][value >> (8 * p) & 255];
        }
    }
}

u32 cost(const std::array<Histogram, 8>& planes, unsigned width, size_t bytes) {
    u32 bits = 0;
    for (unsigned p = 0; p < width; ++p) bits += adaptive_cost(planes[p], bytes / width);
    return bits;
}

}  // namespace

Lane sniff_lane(const u8* src, size_t n) noexcept {
    Lane best{1, Form::plain};
    if (n < sample_bytes) return best;
    const Samples samples(src, n);
    const size_t bytes = samples.count * sample_bytes;
    std::array<Histogram, 8> planes{};
    count(samples, {8, Form::plain}, planes);
    u32 least = cost(planes, 8, bytes);
    best.width = 8;
    for (unsigned width = 4; width > 0; width /= 2) {  // the planes of half the width are sums of these
        for (unsigned p = 0; p < width; ++p)
            for (unsigned s = 0; s < 256; ++s) planes[p][s] += planes[p + width][s];
        const u32 bits = cost(planes, width, bytes);
        if (bits <= least) {
            least = bits;
            best.width = width;
        }
    }
    if (best.width == 1) return best;
    std::array<Histogram, 8> rotated{};
    count(samples, {best.width, Form::rotated}, rotated);
    if (cost(rotated, best.width, bytes) < least) best.form = Form::rotated;
    return best;
}

Pieces::Pieces(size_t n) noexcept : n_(n), stretch_(std::clamp<size_t>(n / 4 / 8 * 8, most, 8 * most)) {}

size_t Pieces::count() const noexcept { return (n_ + stretch_ - 1) / stretch_; }

Pieces::Piece Pieces::operator[](size_t number) const noexcept {
    // 11 has no divisor in common with any number of places that a stretch may have.
    const size_t place = number * 11 % (stretch_ / most);
    const size_t start = std::min(n_, number * stretch_ + place * most);
    return {start, std::min(n_ - start, most)};
}

unsigned repeats(const u8* src, size_t n) noexcept {
    const Pieces pieces(n);
    std::array<u32, 4096> seen{};  // tags of strings, by their hash; 0 means none
    unsigned words = 0, found = 0;
    for (size_t p = 0; p < pieces.count(); ++p) {
        const auto [start, size] = pieces[p];
        for (size_t i = start; i + 16 <= start + size; i += 8) {
            const u64 hash = load_le64(src + i) * 0x9E3779B97F4A7C15u + load_le64(src + i + 8) * 0xC2B2AE3D27D4EB4Fu;
            u32& slot = seen[hash >> 52];
            const u32 tag = static_cast<u32>(hash >> 20) | 1;
            found += slot == tag;
            slot = tag;
            ++words;
        }
    }
    return words == 0 ? 0 : static_cast<unsigned>(u64{found} * 1024 / words);
}

}  // namespace dcpx
