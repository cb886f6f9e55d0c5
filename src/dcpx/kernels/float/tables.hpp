// Building, writing and reading the two code tables; what is read must hold still. Integers only: the same histogram
// gives the same bytes everywhere.
#pragma once
#include "kernels.hpp"

namespace dcpx {

// A table as stored: first symbol, number of symbols - 1, then one value per symbol.
struct Alphabet {
    u8 value[256];  // prefix: code length, 0 = absent
};
struct Frequencies {
    u16 value[256];  // tANS: share of the 4096 states, 0 = absent
};

u32 log2_q12(u32 x) noexcept;  // 4096 * log2(x), x >= 1

void prefix_lengths(const u32* hist, Alphabet& a) noexcept;  // at least one non-zero count
void prefix_encoder(const Alphabet& a, PrefixEncoder& t) noexcept;
bool prefix_decoder(const Alphabet& a, PrefixDecoder& t,
                    void* temp) noexcept;  // temp: prefix_temp bytes; false: no full code
inline constexpr size_t prefix_temp = (size_t{8} << prefix_bits) + 64;
size_t write_lengths(const Alphabet& a, u8* out) noexcept;         // <= 130 bytes
size_t read_lengths(const u8* p, size_t n, Alphabet& a) noexcept;  // bytes read, 0 = malformed

void tans_frequencies(const u32* hist, Frequencies& f) noexcept;
void tans_encoder(const Frequencies& f, TansEncoder& t) noexcept;
bool tans_decoder(const Frequencies& f, TansDecoder& t) noexcept;
size_t write_frequencies(const Frequencies& f, u8* out) noexcept;  // <= 514 bytes
size_t read_frequencies(const u8* p, size_t n, Frequencies& f) noexcept;
inline constexpr size_t max_table = 514;

}  // namespace dcpx
