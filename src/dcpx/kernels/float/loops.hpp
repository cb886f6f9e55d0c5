// Loop bodies written once in plain C++ and compiled for each instruction set (with BMI2 the shifts cost half). They
// are always inlined, so they take on the target of the function that calls them.
#pragma once
#include <algorithm>

#include "kernels.hpp"

namespace dcpx::loops {

DCPX_INLINE size_t screen(u8* sym, size_t from, size_t n, const u8* allowed, u8 stand_in, u32 base, Patch* out,
                          size_t found, size_t cap) {
    for (size_t i = from; i < n; ++i) {
        const u8 s = sym[i];
        if (allowed[s >> 3] >> (s & 7) & 1) continue;
        if (found < cap) out[found] = {base + u32(i), s};
        ++found;
        sym[i] = stand_in;
    }
    return found;
}

// ---- prefix code ----
// Symbols of a block are coded from the last to the first, so that the decoder can write downwards: an entry then needs
// no shift before it is stored, since the next store overwrites what it leaves below its symbols.
DCPX_INLINE void prefix_encode_tail(const u8* sym, size_t n, const PrefixEncoder& t, Appender& w) {
    for (size_t i = n; i-- > 0;) append(w, t.entry[sym[i]] >> 4, t.entry[sym[i]] & 15);
}
DCPX_INLINE void prefix_encode(const u8* sym, size_t n, const PrefixEncoder& t, Appender& writer) {
    Appender w = writer;
    size_t i = n;
    for (; i >= 4; i -= 4) {  // four codes, at most 44 bits, joined before they touch the stream
        const u32 d = t.entry[sym[i - 1]], c = t.entry[sym[i - 2]], b = t.entry[sym[i - 3]], a = t.entry[sym[i - 4]];
        const u32 dc = d >> 4 | (c >> 4) << (d & 15), ba = b >> 4 | (a >> 4) << (b & 15);
        const u32 len = (d & 15) + (c & 15);
        append(w, dc | u64{ba} << len, len + (b & 15) + (a & 15));
    }
    prefix_encode_tail(sym, i, t, w);
    writer = w;
}

// p may stand anywhere in the stream; bits past its end read as zeros.
DCPX_INLINE u64 careful_load(const u8* p, const u8* end) {
    if (end - p >= 8) return load_le64(p);
    u64 v = 0;
    for (const u8* q = end; q > p;) v = v << 8 | *--q;
    return v;
}
// Sets bits to the unread bits, the next one lowest, under a sentinel: its leading zeros are the bits used.
DCPX_INLINE void refill(const u8*& p, u64& bits) {
    const unsigned used = unsigned(std::countl_zero(bits));
    p += used >> 3;
    bits = (load_le64(p) | u64{1} << 63) >> (used & 7);
}
DCPX_INLINE bool refill_careful(const u8*& p, const u8* end, u64& bits) {
    const unsigned used = unsigned(std::countl_zero(bits));
    if (size_t(end - p) * 8 < used) return false;
    p += used >> 3;
    bits = (careful_load(p, end) | u64{1} << 63) >> (used & 7);
    return true;
}
// Refills that one stream can surely do with whole loads; each is good for 56 bits and moves by at most 7 bytes. No
// load may reach the stream's last byte: a look-up would take the zeros that pad it for symbols.
DCPX_INLINE size_t refills_left(const Reader& r) {
    const size_t in = size_t(r.end - r.p);
    return in < 16 ? 0 : (in - 9) / 7;
}

// One look-up: up to six symbols. The store always writes 8 bytes.
DCPX_INLINE void prefix_step(const u64* table, u64& bits, u8*& out) {
    const u64 e = table[bits & ((1u << prefix_bits) - 1)];
    bits >>= e & 63;
    store_le64(out - 8, e);
    out -= e >> 8 & 255;
}
DCPX_INLINE size_t prefix_rounds(const Reader& r, const u8* limit, size_t per_round) {
    return std::min(refills_left(r), size_t(r.out - limit) / per_round);
}

DCPX_INLINE void prefix_four(const u64* table, Reader* r) {
    refill(r[0].p, r[0].bits);
    refill(r[1].p, r[1].bits);
    refill(r[2].p, r[2].bits);
    refill(r[3].p, r[3].bits);
    u64 b0 = r[0].bits, b1 = r[1].bits, b2 = r[2].bits, b3 = r[3].bits;
    u8 *o0 = r[0].out, *o1 = r[1].out, *o2 = r[2].out, *o3 = r[3].out;
#define DCPX_STEP \
    prefix_step(table, b0, o0), prefix_step(table, b1, o1), prefix_step(table, b2, o2), prefix_step(table, b3, o3)
    DCPX_STEP, DCPX_STEP, DCPX_STEP, DCPX_STEP, DCPX_STEP;
#undef DCPX_STEP
    r[0].bits = b0, r[1].bits = b1, r[2].bits = b2, r[3].bits = b3;
    r[0].out = o0, r[1].out = o1, r[2].out = o2, r[3].out = o3;
}

// One stream alone, when others have run dry or ahead; then symbol by symbol up to its last bit.
DCPX_INLINE bool prefix_alone(const PrefixDecoder& t, Reader& r, u8* stop, const u8* limit, size_t per_round) {
    while (r.out > stop && prefix_rounds(r, limit, per_round)) {
        refill(r.p, r.bits);
        for (int i = 0; i < 5; ++i) prefix_step(t.entry, r.bits, r.out);
    }
    while (r.out > stop) {
        if (!refill_careful(r.p, r.end, r.bits)) return false;
        const u8 s = u8(t.entry[r.bits & ((1u << prefix_bits) - 1)] >> 56);
        r.bits >>= t.length[s];
        *--r.out = s;
    }
    return true;
}

// After the last symbol only zero bits may be left, and less than a byte of them.
DCPX_INLINE bool prefix_at_end(const Reader& r) {
    const unsigned used = unsigned(std::countl_zero(r.bits));
    if (size_t(r.end - r.p) != (used + 7) / 8) return false;
    return (used & 7) == 0 || r.end[-1] >> (used & 7) == 0;
}

// Block k of the window is [slack, slack + need[k]) of its stride; symbols decoded ahead lie below.
DCPX_INLINE bool prefix_decode(const PrefixDecoder& t, Reader* r, u8* window, bool last, Ahead& ahead) {
    const size_t per_round = 5 * t.most;
    for (;;) {
        size_t rounds = ~size_t{0};
        bool done = true;
        for (unsigned k = 0; k < streams; ++k) {
            u8* const low = window + k * stride;
            done &= r[k].out <= low + slack;
            rounds = std::min(rounds, prefix_rounds(r[k], low + 8, per_round));
        }
        if (done || rounds == 0) break;
        for (; rounds > 0; --rounds) {  // the readers stay in memory: each half has just enough registers for its own
            prefix_four(t.entry, r);
            ahead.some();
            prefix_four(t.entry, r + 4);
            ahead.some();
        }
    }
    bool ok = true;
    for (unsigned k = 0; k < streams; ++k) {
        u8* const low = window + k * stride;
        ok &= prefix_alone(t, r[k], low + slack, low + 8, per_round);
        if (last) ok &= r[k].out == low + slack && prefix_at_end(r[k]);
    }
    return ok;
}

// ---- tANS ----
DCPX_INLINE void tans_put(const TansEncoder& t, u8 s, u64& state, u64& acc, u64& n) {
    const TansEncoder::Symbol e = t.symbol[s];
    const u32 bits = (u32(state) + e.delta_bits) >> 16;
    acc = acc << bits | (state & ((u64{1} << bits) - 1));
    n += bits;
    state = t.next[u32(state >> bits) + e.delta_state];
}
template <unsigned N>
DCPX_INLINE void tans_encode_some(const u8* sym, size_t block, size_t n, const TansEncoder& t, Prepender* writers) {
    Prepender w[N];
    std::copy(writers, writers + N, w);
    size_t i = n;
    for (; i & 3; --i)
        for (unsigned k = 0; k < N; ++k) {
            tans_put(t, sym[k * block + i - 1], w[k].state, w[k].acc, w[k].n);
            flush(w[k]);
        }
    for (; i > 0; i -= 4) {  // 4 * 12 bits and 7 left over fit
        for (unsigned j = 1; j <= 4; ++j)
            for (unsigned k = 0; k < N; ++k) tans_put(t, sym[k * block + i - j], w[k].state, w[k].acc, w[k].n);
        for (unsigned k = 0; k < N; ++k) flush(w[k]);
    }
    std::copy(w, w + N, writers);
}
DCPX_INLINE void tans_encode(const u8* sym, size_t block, size_t n, const TansEncoder& t, Prepender* w,
                             unsigned count) {
    if (count == streams) {
        tans_encode_some<4>(sym, block, n, t, w);
        tans_encode_some<4>(sym + 4 * block, block, n, t, w + 4);
    } else {
        for (unsigned k = 0; k < count; ++k) tans_encode_some<1>(sym + k * block, block, n, t, w + k);
    }
}

DCPX_INLINE void tans_step(const u32* table, u64& state, u64& bits, u8* out) {
    const u32 e = table[state];
    const u64 n = e & 63;
    state = (e >> 16) + (bits & ((u64{1} << n) - 1));
    bits >>= n;
    *out = u8(e >> 8);
}
DCPX_INLINE void tans_four(const u32* table, Reader* r, u8* out) {
    refill(r[0].p, r[0].bits);
    refill(r[1].p, r[1].bits);
    refill(r[2].p, r[2].bits);
    refill(r[3].p, r[3].bits);
    u64 b0 = r[0].bits, b1 = r[1].bits, b2 = r[2].bits, b3 = r[3].bits;
    u64 s0 = r[0].state, s1 = r[1].state, s2 = r[2].state, s3 = r[3].state;
#define DCPX_STEP(i)                                                               \
    tans_step(table, s0, b0, out + i), tans_step(table, s1, b1, out + stride + i), \
        tans_step(table, s2, b2, out + 2 * stride + i), tans_step(table, s3, b3, out + 3 * stride + i)
    DCPX_STEP(0), DCPX_STEP(1), DCPX_STEP(2), DCPX_STEP(3);
#undef DCPX_STEP
    r[0].bits = b0, r[1].bits = b1, r[2].bits = b2, r[3].bits = b3;
    r[0].state = s0, r[1].state = s1, r[2].state = s2, r[3].state = s3;
}
DCPX_INLINE bool tans_decode(const TansDecoder& t, Reader* r, u8* window, const u32* need, Ahead& ahead) {
    const size_t common = *std::min_element(need, need + streams);
    size_t i = 0;
    while (i + 4 <= common) {
        size_t rounds = (common - i) / 4;
        for (unsigned k = 0; k < streams; ++k) rounds = std::min(rounds, refills_left(r[k]));
        if (rounds == 0) break;
        for (; rounds > 0; --rounds, i += 4) {
            tans_four(t.entry, r, window + slack + i);
            tans_four(t.entry, r + 4, window + 4 * stride + slack + i);
            ahead.some();
        }
    }
    bool ok = true;
    for (unsigned k = 0; k < streams && ok; ++k)
        for (size_t j = i; j < need[k] && ok; ++j) {
            ok = refill_careful(r[k].p, r[k].end, r[k].bits);
            tans_step(t.entry, r[k].state, r[k].bits, window + slack + k * stride + j);
        }
    return ok;
}
}  // namespace dcpx::loops
