#include "palette.hpp"

#include "histogram.hpp"

namespace dcpx {

void Palette::clear() noexcept {
    count_ = 0;
    std::memset(slots_, 0, sizeof slots_);
}

template <unsigned W>
bool Palette::take(const u8* src, size_t lanes, u8* numbers) noexcept {
    for (size_t i = 0; i < lanes; ++i) {
        const u64 value = load_lane<W>(src + i * W);
        u64 at = value * 0x9E3779B97F4A7C15 >> 54;
        while (slots_[at] != 0 && values_[slots_[at] - 1] != value) at = (at + 1) % slots;
        if (slots_[at] == 0) {
            if (count_ == most) return false;
            values_[count_] = value;
            slots_[at] = u16(++count_);
        }
        numbers[i] = u8(slots_[at] - 1);
    }
    return true;
}
bool Palette::take(const u8* src, size_t lanes, unsigned width, u8* numbers) noexcept {
    return width == 2   ? take<2>(src, lanes, numbers)
           : width == 4 ? take<4>(src, lanes, numbers)
                        : take<8>(src, lanes, numbers);
}

bool Palette::sample(const u8* src, size_t lanes, unsigned width, u32* hist, size_t& counted) noexcept {
    const Runs runs(lanes, palette_sample);
    u8 numbers[palette_sample];
    clear();
    std::memset(hist, 0, most * sizeof *hist);
    for (size_t r = 0; r < runs.count; ++r) {
        if (!take(src + r * runs.step * width, runs.length, width, numbers)) return false;
        for (size_t i = 0; i < runs.length; ++i) ++hist[numbers[i]];
    }
    counted = runs.count * runs.length;
    return true;
}

bool Palette::number(const u8* src, size_t lanes, unsigned width, u8* numbers) noexcept {
    clear();
    return take(src, lanes, width, numbers);
}
}  // namespace dcpx
