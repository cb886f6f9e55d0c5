// Unaligned loads and stores, and the writers of the two kinds of bit stream.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dcpx {
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;
using std::size_t;

#define DCPX_INLINE inline __attribute__((always_inline))

DCPX_INLINE u64 load_le64(const u8* p) {
    u64 v;
    std::memcpy(&v, p, 8);
    if constexpr (std::endian::native == std::endian::big) v = __builtin_bswap64(v);
    return v;
}
DCPX_INLINE void store_le64(u8* p, u64 v) {
    if constexpr (std::endian::native == std::endian::big) v = __builtin_bswap64(v);
    std::memcpy(p, &v, 8);
}

// Little-endian integer of `bytes` bytes (1..8).
DCPX_INLINE u64 load_le(const u8* p, unsigned bytes) {
    u64 v = 0;
    for (unsigned i = 0; i < bytes; ++i) v |= u64{p[i]} << (8 * i);
    return v;
}
// The same, from memory that another thread may write to: what is checked is what is used, as the compiler can't know
// the value and load it a second time.
DCPX_INLINE u64 load_once(const u8* p, unsigned bytes) {
    u64 v = load_le(p, bytes);
    __asm__("" : "+r"(v));
    return v;
}
DCPX_INLINE void store_le(u8* p, u64 v, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) p[i] = u8(v >> (8 * i));
}

// One lane of W bytes, as one load or store.
template <unsigned W>
DCPX_INLINE u64 load_lane(const u8* p) {
    if constexpr (std::endian::native == std::endian::big) return load_le(p, W);
    u64 v = 0;
    std::memcpy(&v, p, W);
    return v;
}
template <unsigned W>
DCPX_INLINE void store_lane(u8* p, u64 v) {
    if constexpr (std::endian::native == std::endian::big)
        store_le(p, v, W);
    else
        std::memcpy(p, &v, W);
}

// Streams are read ascending from the lowest bit of the first byte. Prefix streams are written that way too. Every
// append stores 8 bytes at p.
struct Appender {
    u8* p;
    u64 acc;  // bits not yet passed by p, lowest first
    u64 n;    // how many, 0..7 between appends
};
DCPX_INLINE void append(Appender& w, u64 code, u64 len) {  // len <= 56
    w.acc |= code << w.n;
    w.n += len;
    store_le64(w.p, w.acc);
    w.p += w.n >> 3;
    w.acc >>= w.n & 56;
    w.n &= 7;
}

// tANS streams must be written in the opposite order to reading: at descending addresses.
struct Prepender {
    u8* p;
    u64 acc;
    u64 n;
    u64 state;
};
DCPX_INLINE void flush(Prepender& w) {  // at most 63 bits pending; stores 8 bytes below p
    store_le64(w.p - 8, w.acc << ((64 - w.n) & 63));
    w.p -= w.n >> 3;
    w.n &= 7;
}
}  // namespace dcpx
