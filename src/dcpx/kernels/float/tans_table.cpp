// tANS tables (as in FSE): 4096 states shared out by frequency.
#include "tables.hpp"

namespace dcpx {
namespace {
constexpr u32 spread_step = (tans_size >> 1) + (tans_size >> 3) + 3;  // odd: visits every state once

struct Log2Table {
    u16 q12[256];
    constexpr Log2Table() : q12() {
        for (unsigned i = 0; i < 256; ++i) {  // fraction bits of log2(1 + i / 256) by repeated squaring, Q30
            u64 x = (u64{256 + i}) << 22;
            u32 bits = 0;
            for (int k = 0; k < 12; ++k) {
                x = x * x >> 30;
                bits <<= 1;
                if (x >> 31) x >>= 1, bits |= 1;
            }
            q12[i] = u16(bits);
        }
    }
};
constexpr Log2Table log2_table;
}  // namespace

u32 log2_q12(u32 x) noexcept {
    const unsigned e = 31 - unsigned(std::countl_zero(x));
    const u32 mantissa = e >= 8 ? x >> (e - 8) : x << (8 - e);
    return e * 4096 + log2_table.q12[mantissa & 255];
}

// Largest-remainder-free normalisation: round down but never to zero, then give or take where it costs the fewest bits,
// the most frequent symbols first.
void tans_frequencies(const u32* hist, Frequencies& f) noexcept {
    u64 total = 0;
    for (unsigned s = 0; s < 256; ++s) total += hist[s];
    u32 sum = 0;
    for (unsigned s = 0; s < 256; ++s) {
        u64 q = (hist[s] * u64{tans_size} * 2 + total) / (2 * total);  // nearest
        if (hist[s] && q == 0) q = 1;
        f.value[s] = u16(q);
        sum += u32(q);
    }
    while (sum != tans_size) {  // move one state at a time: at most a few hundred steps
        const bool give = sum < tans_size;
        unsigned best = 256;
        u64 num = 0, den = 1;  // what a state is worth here: hist / freq
        for (unsigned s = 0; s < 256; ++s) {
            if (!hist[s] || (!give && f.value[s] == 1)) continue;
            const u64 a = hist[s], b = give ? f.value[s] * 2u + 1 : f.value[s] * 2u - 1;
            if (best == 256 || (give ? a * den > num * b : a * den < num * b)) best = s, num = a, den = b;
        }
        if (give)
            ++f.value[best], ++sum;
        else
            --f.value[best], --sum;
    }
}

static void spread(const Frequencies& f, u8* symbol_of_state) {
    u32 at = 0;
    for (unsigned s = 0; s < 256; ++s)
        for (u32 i = 0; i < f.value[s]; ++i) {
            symbol_of_state[at] = u8(s);
            at = (at + spread_step) & (tans_size - 1);
        }
}

void tans_encoder(const Frequencies& f, TansEncoder& t) noexcept {
    u8 symbol_of_state[tans_size];
    u32 start[256], sum = 0;
    spread(f, symbol_of_state);
    for (unsigned s = 0; s < 256; ++s) {
        const u32 n = f.value[s];
        t.symbol[s] = {0, 0};
        start[s] = sum;
        if (n) {
            const u32 most = n == 1 ? tans_bits : tans_bits - (31 - u32(std::countl_zero(n - 1)));
            t.symbol[s].delta_bits = (most << 16) - (n << most);
            t.symbol[s].delta_state = sum - n;
        }
        sum += n;
    }
    for (u32 x = 0; x < tans_size; ++x) t.next[start[symbol_of_state[x]]++] = u16(tans_size + x);
}

bool tans_decoder(const Frequencies& f, TansDecoder& t) noexcept {
    u8 symbol_of_state[tans_size];
    u32 next[256], sum = 0;
    for (unsigned s = 0; s < 256; ++s) sum += next[s] = f.value[s];
    if (sum != tans_size) return false;
    spread(f, symbol_of_state);
    for (u32 x = 0; x < tans_size; ++x) {
        const u8 s = symbol_of_state[x];
        const u32 from = next[s]++;
        const u32 bits = tans_bits - (31 - u32(std::countl_zero(from)));
        t.entry[x] = ((from << bits) - tans_size) << 16 | u32{s} << 8 | bits;
    }
    return true;
}

// Frequencies as LEB128: one byte below 128, else two.
size_t write_frequencies(const Frequencies& f, u8* out) noexcept {
    unsigned lo = 0, hi = 255;
    while (!f.value[lo]) ++lo;
    while (!f.value[hi]) --hi;
    out[0] = u8(lo);
    out[1] = u8(hi - lo);
    u8* p = out + 2;
    for (unsigned s = lo; s <= hi; ++s) {
        const u32 v = f.value[s];
        if (v >= 128)
            *p++ = u8(v | 128), *p++ = u8(v >> 7);
        else
            *p++ = u8(v);
    }
    return size_t(p - out);
}

size_t read_frequencies(const u8* p, size_t n, Frequencies& f) noexcept {
    std::memset(f.value, 0, sizeof f.value);
    if (n < 2) return 0;
    const unsigned lo = p[0], count = p[1] + 1u;
    if (lo + count > 256) return 0;
    size_t at = 2;
    u32 sum = 0;
    for (unsigned i = 0; i < count; ++i) {
        if (at >= n) return 0;
        u32 v = p[at++];
        if (v & 128) {
            if (at >= n) return 0;
            const u32 high = p[at++];
            if (high == 0 || high > tans_size >> 7) return 0;  // too long a form, or too large
            v = (v & 127) | high << 7;
        }
        if (v > tans_size) return 0;
        f.value[lo + i] = u16(v);
        sum += v;
    }
    if (sum != tans_size || !f.value[lo] || !f.value[lo + count - 1]) return 0;
    return at;
}
}  // namespace dcpx
