// The hot loops, one table of functions per instruction set.
#pragma once
#include "bits.hpp"
#include "float_codec.hpp"

namespace dcpx {

// Block k, k + 8, k + 16, ... of a plane belong to stream k. Eight blocks are a window, the unit that the kernels work
// on: small enough for L1, so that splitting, coding and merging see each byte there.
inline constexpr unsigned streams = 8;
inline constexpr size_t max_block = 1024;
inline constexpr size_t slack = 256;                 // a prefix decoder may run this far ahead of its block
inline constexpr size_t stride = max_block + slack;  // between the blocks of a decoded window
inline constexpr size_t window_bytes = streams * stride;

inline constexpr unsigned prefix_bits = 11;  // longest prefix code
inline constexpr unsigned tans_bits = 12;    // log2 of the tANS states
inline constexpr u32 tans_size = 1u << tans_bits;

constexpr size_t block_size(size_t lanes) {
    const size_t b = ((lanes + streams - 1) / streams + 31) / 32 * 32;
    return b < max_block ? b : max_block;
}

struct Patch {  // lane and the byte that belongs there
    u32 lane;
    u32 value;
};

// ---- prefix code ----
struct PrefixEncoder {
    alignas(64) u16 entry[256];  // code << 4 | length
    unsigned low, span;          // all codes lie in entry[low, low + span)
};
// Entry: byte 0 = bits used, byte 1 = number of symbols (1..6), then the symbols, the first one in byte 7.
struct PrefixDecoder {
    alignas(64) u64 entry[1u << prefix_bits];
    u8 length[256];
    u32 most;  // largest count of any entry
};
// ---- tANS ----
struct TansEncoder {
    struct Symbol {
        u32 delta_bits;   // (state + delta_bits) >> 16 = bits to emit
        u32 delta_state;  // next[(state >> bits) + delta_state] = next state (mod 2^32)
    } symbol[256];
    u16 next[tans_size];
};
struct TansDecoder {
    alignas(64) u32 entry[tans_size];  // byte 0 = bits to read, byte 1 = symbol, upper half = base of the next state
};

struct Reader {   // one stream while it is being decoded
    const u8* p;  // byte that holds the next unread bit, up to 56 bits behind what `bits` has used
    const u8* end;
    u64 bits;   // unread bits at the reading end, and a sentinel bit that tells how many bits have been used
    u8* out;    // prefix: the next symbol goes below
    u64 state;  // tANS
};

// Decoding leaves the memory idle and merging leaves the core idle: while a window is decoded, have the raw planes that
// it will be merged with fetched, a few lines at a time, as more at once would stall.
struct Ahead {
    const u8* at[8];
    unsigned planes;
    size_t left, step;  // bytes of each plane; step per call
    DCPX_INLINE void some() {
        if (left == 0) return;
        for (unsigned p = 0; p < planes; ++p) {
            for (size_t i = 0; i < step; i += 64) __builtin_prefetch(at[p] + i);
            at[p] += step;
        }
        left -= step < left ? step : left;
    }
};

struct Kernels {
    // lanes -> planes, in the lane's form; and back (past the caches where dst is aligned). `before` is the lane before
    // the first, 0 at the chunk's start, which only differences ask for; merge leaves the last lane there.
    void (*split)(const u8* src, size_t lanes, Lane lane, u64 before, u8* const* planes);
    void (*merge)(u8* dst, size_t lanes, Lane lane, u64& before, const u8* const* planes);
    // Finds bytes of sym[0..n) without a bit in `allowed`, replaces them by `stand_in`, notes them as patches (lane =
    // index + base) up to `cap`; returns the number found.
    size_t (*screen)(u8* sym, size_t n, const u8* allowed, u8 stand_in, u32 base, Patch* out, size_t cap);
    void (*prefix_encode)(const u8* sym, size_t n, const PrefixEncoder& t, Appender& w);
    // Decoded windows hold block k at window + k * stride + slack. The prefix decoder works downwards from r[k].out
    // until every block is full; what it decodes ahead lies below. The tANS decoder works upwards, need[k] symbols.
    bool (*prefix_decode)(const PrefixDecoder& t, Reader* r, u8* window, bool last, Ahead& ahead);
    // n symbols at sym + k * block for each of `count` (1 or 8) writers, from last to first
    void (*tans_encode)(const u8* sym, size_t block, size_t n, const TansEncoder& t, Prepender* w, unsigned count);
    bool (*tans_decode)(const TansDecoder& t, Reader* r, u8* window, const u32* need, Ahead& ahead);
    void (*fence)();  // after the last merge, whose stores may bypass the caches
};
extern const Kernels portable_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
namespace avx2 {  // what the AVX-512 path shares
void split(const u8* src, size_t lanes, Lane lane, u64 before, u8* const* planes);
void merge(u8* dst, size_t lanes, Lane lane, u64& before, const u8* const* planes);
size_t screen(u8* sym, size_t n, const u8* allowed, u8 stand_in, u32 base, Patch* out, size_t cap);
bool prefix_decode(const PrefixDecoder& t, Reader* r, u8* window, bool last, Ahead& ahead);
void tans_encode(const u8* sym, size_t block, size_t n, const TansEncoder& t, Prepender* w, unsigned count);
bool tans_decode(const TansDecoder& t, Reader* r, u8* window, const u32* need, Ahead& ahead);
void fence();
}  // namespace avx2
#endif
const Kernels& kernels() noexcept;

}  // namespace dcpx
