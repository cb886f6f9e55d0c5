// Canonical prefix codes of at most 11 bits: lengths from a histogram, and the tables of the coder.
#include <algorithm>

#include "tables.hpp"

namespace dcpx {

// The best code of at most 11 bits, by package-merge (Larmore and Hirschberg 1990): a coin of each symbol's weight for
// every bit that its code may have. From the lowest bit up, coins are paired into packages, which lie among the coins
// of the next; of the last bit's list the 2n - 2 lightest are taken, and so the lightest coins of every bit.
void prefix_lengths(const u32* hist, Alphabet& a) noexcept {
    u64 leaf[256];  // count << 8 | symbol, ascending
    unsigned n = 0;
    std::memset(a.value, 0, sizeof a.value);
    for (unsigned s = 0; s < 256; ++s)
        if (hist[s]) leaf[n++] = u64{hist[s]} << 8 | s;
    if (n == 1) {  // a full code needs two symbols: the neighbour never occurs
        const unsigned s = unsigned(leaf[0] & 255);
        a.value[s] = a.value[s ^ 1] = 1;
        return;
    }
    std::sort(leaf, leaf + n);
    u64 weights[2][512];
    bool is_leaf[prefix_bits][512];
    unsigned size = 0;
    for (unsigned bit = 0; bit < prefix_bits; ++bit) {
        const u64* const before = weights[bit & 1];
        u64* const list = weights[~bit & 1];
        const unsigned packages = size / 2;
        unsigned coin = 0, package = 0;
        for (size = 0; coin < n || package < packages; ++size) {
            const u64 paired = package < packages ? before[2 * package] + before[2 * package + 1] : ~u64{0};
            const bool take = coin < n && leaf[coin] >> 8 <= paired;
            list[size] = take ? leaf[coin++] >> 8 : (++package, paired);
            is_leaf[bit][size] = take;
        }
    }
    unsigned taken = 2 * n - 2;
    for (unsigned bit = prefix_bits; bit-- > 0 && taken > 0;) {
        const unsigned coins = unsigned(std::count(is_leaf[bit], is_leaf[bit] + taken, true));
        for (unsigned i = 0; i < coins; ++i) ++a.value[leaf[i] & 255];
        taken = 2 * (taken - coins);
    }
}

// Canonical order: by length, then by symbol; codes ascend from 0, and go into the stream top bit first, which is to
// say reversed, since streams are read from their lowest bits.
static void canonical(const Alphabet& a, u8* order, unsigned* first_of_length, u16* code) {
    unsigned count[prefix_bits + 1] = {}, n = 0, at[prefix_bits + 1];
    for (unsigned s = 0; s < 256; ++s) ++count[a.value[s]];
    for (unsigned len = 1; len <= prefix_bits; ++len) {
        at[len] = first_of_length[len] = n;
        n += count[len];
    }
    first_of_length[prefix_bits + 1] = n;
    for (unsigned s = 0; s < 256; ++s)
        if (a.value[s]) order[at[a.value[s]]++] = u8(s);
    unsigned next = 0;
    for (unsigned len = 1; len <= prefix_bits; ++len, next <<= 1)
        for (unsigned i = first_of_length[len]; i < first_of_length[len + 1]; ++i, ++next) {
            unsigned reversed = 0;
            for (unsigned b = 0; b < len; ++b) reversed |= (next >> b & 1) << (len - 1 - b);
            code[i] = u16(reversed);
        }
}

void prefix_encoder(const Alphabet& a, PrefixEncoder& t) noexcept {
    u8 order[256];
    u16 code[256];
    unsigned first[prefix_bits + 2];
    canonical(a, order, first, code);
    std::memset(t.entry, 0, sizeof t.entry);
    for (unsigned len = 1; len <= prefix_bits; ++len)
        for (unsigned i = first[len]; i < first[len + 1]; ++i) t.entry[order[i]] = u16(code[i] << 4 | len);
    unsigned lo = 0, hi = 255;
    while (!a.value[lo]) ++lo;
    while (!a.value[hi]) --hi;
    t.low = std::min(lo, 192u);  // so that 64 entries from there on can be loaded
    t.span = hi + 1 - t.low;
}

// table(r)[j] holds the symbols that the r bits of j spell out. With a first code of length L that is its symbol, then
// what table(r - L) says of the bits after it: j = code + (index there << L), so each symbol's entries are one strided
// copy.
bool prefix_decoder(const Alphabet& a, PrefixDecoder& t, void* temp) noexcept {
    u8 order[256];
    u16 code[256];
    unsigned first[prefix_bits + 2];
    u32 full = 0;
    for (unsigned s = 0; s < 256; ++s) {
        if (a.value[s] > prefix_bits) return false;
        if (a.value[s]) full += (1u << prefix_bits) >> a.value[s];
    }
    if (full != 1u << prefix_bits) return false;  // over- or under-full
    canonical(a, order, first, code);
    std::memcpy(t.length, a.value, sizeof t.length);
    constexpr u64 head = 0xffff, five = ~u64{0xffffff};
    u64* part = static_cast<u64*>(temp);               // table(r) at part + 2^r, r < 11
    const bool may_overflow = first[2] > first[1];     // seven symbols in 11 bits need a code of one bit
    std::memset(temp, 0, sizeof(u64) << prefix_bits);  // where all codes are longer: nothing spelt out
    for (unsigned r = 1; r <= prefix_bits; ++r) {
        u64* const table = r == prefix_bits ? t.entry : part + (size_t{1} << r);
        for (unsigned len = 1; len <= r; ++len) {
            const u64* in = part + (size_t{1} << (r - len));
            const size_t n = size_t{1} << (r - len);
            for (unsigned i = first[len]; i < first[len + 1]; ++i) {
                const u64 add = u64{order[i]} << 56 | 1u << 8 | len;
                u64* out = table + code[i];
                for (size_t j = 0; j < n; ++j, out += size_t{1} << len) {
                    u64 e = in[j];
                    if (may_overflow && (e >> 8 & 255) == 6) e -= 1u << 8 | a.value[e >> 16 & 255];  // drop the sixth
                    *out = ((e & five) >> 8) + (e & head) + add;
                }
            }
        }
    }
    // A shortest code of L bits spells at most 11 / L symbols.
    unsigned shortest = 1;
    while (first[shortest + 1] == first[shortest]) ++shortest;
    t.most = std::min(6u, prefix_bits / shortest);
    return true;
}

size_t write_lengths(const Alphabet& a, u8* out) noexcept {
    unsigned lo = 0, hi = 255;
    while (!a.value[lo]) ++lo;
    while (!a.value[hi]) --hi;
    out[0] = u8(lo);
    out[1] = u8(hi - lo);
    u8* p = out + 2;
    for (unsigned s = lo; s <= hi; s += 2) *p++ = u8(a.value[s] | (s < hi ? a.value[s + 1] << 4 : 0));
    return size_t(p - out);
}

size_t read_lengths(const u8* p, size_t n, Alphabet& a) noexcept {
    std::memset(a.value, 0, sizeof a.value);
    if (n < 2) return 0;
    const unsigned lo = p[0], count = p[1] + 1u;
    const size_t size = 2 + (count + 1) / 2;
    if (lo + count > 256 || n < size) return 0;
    for (unsigned i = 0; i < count; ++i) a.value[lo + i] = p[2 + i / 2] >> (i & 1 ? 4 : 0) & 15;
    if ((count & 1) && p[size - 1] >> 4) return 0;           // the spare half byte is zero
    if (!a.value[lo] || !a.value[lo + count - 1]) return 0;  // one way to write a table
    return size;
}
}  // namespace dcpx
