// Lanes and planes in plain C++: the forms of lanes, one lane or eight at a time. Compiled for each instruction set, as
// loops.hpp is.
#pragma once
#include "kernels.hpp"

namespace dcpx::lanes {

DCPX_INLINE constexpr u64 low_bits(unsigned width) { return ~u64{0} >> (64 - 8 * width); }

// Rows and columns of an 8 x 8 matrix of bits change places: bit i of byte j becomes bit j of byte i.
DCPX_INLINE u64 transpose_bits(u64 v) {
    u64 t = (v ^ v >> 7) & 0x00AA00AA00AA00AA;
    v ^= t ^ t << 7;
    t = (v ^ v >> 14) & 0x0000CCCC0000CCCC;
    v ^= t ^ t << 14;
    t = (v ^ v >> 28) & 0x00000000F0F0F0F0;
    return v ^ t ^ t << 28;
}

// By how many bits a form turns its lanes to the left.
constexpr unsigned turn(Form form) { return form == Form::rotated ? 1 : form == Form::joined ? 4 : 0; }

// A lane in its form, and back. `before` is the lane before it, and becomes this one. What lies above the lane's bytes
// is 0 going in and, but for plain lanes, anything coming out.
template <unsigned W, Form F>
DCPX_INLINE u64 shape(u64 v, u64& before) {
    constexpr unsigned top = 8 * W - 1;
    if constexpr (turn(F) != 0) return v << turn(F) | v >> (8 * W - turn(F));
    if constexpr (F == Form::bits) return transpose_bits(v);
    if constexpr (F == Form::differences) {
        const u64 step = v - before;
        before = v;
        return step << 1 ^ (u64{0} - (step >> top & 1));
    }
    return v;
}
template <unsigned W, Form F>
DCPX_INLINE u64 unshape(u64 v, u64& before) {
    if constexpr (turn(F) != 0) return (v >> turn(F) | v << (8 * W - turn(F))) & low_bits(W);
    if constexpr (F == Form::bits) return transpose_bits(v);
    if constexpr (F == Form::differences) return before = (before + (v >> 1 ^ (u64{0} - (v & 1)))) & low_bits(W);
    return v;
}

// Calls work.template run<W, F>() for the lane's width and form.
template <class Work>
DCPX_INLINE void with_lane(Lane lane, Work work) {
#define DCPX_FORMS(W)                                                                   \
    lane.form == Form::rotated       ? work.template operator()<W, Form::rotated>()     \
    : lane.form == Form::joined      ? work.template operator()<W, Form::joined>()      \
    : lane.form == Form::differences ? work.template operator()<W, Form::differences>() \
                                     : work.template operator()<W, Form::plain>()
    if (lane.width == 2)
        DCPX_FORMS(2);
    else if (lane.width == 4)
        DCPX_FORMS(4);
    else if (lane.width == 8 && lane.form == Form::bits)
        work.template operator()<8, Form::bits>();
    else if (lane.width == 8)
        DCPX_FORMS(8);
    else
        work.template operator()<1, Form::plain>();
#undef DCPX_FORMS
}

// Eight lanes of eight bytes: byte j of lane i becomes byte i of lane j.
DCPX_INLINE void transpose_bytes(u64* v) {
    for (unsigned i = 0; i < 4; ++i) {
        const u64 t = (v[i] >> 32 ^ v[i + 4]) & 0x00000000FFFFFFFF;
        v[i + 4] ^= t, v[i] ^= t << 32;
    }
    for (unsigned i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) {
        const u64 t = (v[i] >> 16 ^ v[i + 2]) & 0x0000FFFF0000FFFF;
        v[i + 2] ^= t, v[i] ^= t << 16;
    }
    for (unsigned i = 0; i < 8; i += 2) {
        const u64 t = (v[i] >> 8 ^ v[i + 1]) & 0x00FF00FF00FF00FF;
        v[i + 1] ^= t, v[i] ^= t << 8;
    }
}

template <unsigned W, Form F>
DCPX_INLINE void split_as(const u8* src, size_t from, size_t lanes, u64 before, u8* const* planes) {
    size_t i = from;
    if constexpr (W == 8)
        for (; i + 8 <= lanes; i += 8) {
            u64 v[8];
            for (unsigned k = 0; k < 8; ++k) v[k] = shape<8, F>(load_lane<8>(src + (i + k) * 8), before);
            transpose_bytes(v);
            for (unsigned p = 0; p < 8; ++p) store_le64(planes[p] + i, v[p]);
        }
    for (; i < lanes; ++i) {
        const u64 v = shape<W, F>(load_lane<W>(src + i * W), before);
        for (unsigned p = 0; p < W; ++p) planes[p][i] = u8(v >> (8 * p));
    }
}
template <unsigned W, Form F>
DCPX_INLINE void merge_as(u8* dst, size_t from, size_t lanes, u64& before, const u8* const* planes) {
    size_t i = from;
    u64 last = before;
    if constexpr (W == 8)
        for (; i + 8 <= lanes; i += 8) {
            u64 v[8];
            for (unsigned p = 0; p < 8; ++p) v[p] = load_le64(planes[p] + i);
            transpose_bytes(v);
            for (unsigned k = 0; k < 8; ++k) store_lane<8>(dst + (i + k) * 8, unshape<8, F>(v[k], last));
        }
    for (; i < lanes; ++i) {
        u64 v = 0;
        for (unsigned p = 0; p < W; ++p) v |= u64{planes[p][i]} << (8 * p);
        store_lane<W>(dst + i * W, unshape<W, F>(v, last));
    }
    before = last;
}

DCPX_INLINE void split(const u8* src, size_t from, size_t lanes, Lane lane, u64 before, u8* const* planes) {
    if (lane.width == 1) {
        std::memcpy(planes[0] + from, src + from, lanes - from);
        return;
    }
    with_lane(lane, [&]<unsigned W, Form F>()
                        __attribute__((always_inline)) { split_as<W, F>(src, from, lanes, before, planes); });
}
DCPX_INLINE void merge(u8* dst, size_t from, size_t lanes, Lane lane, u64& before, const u8* const* planes) {
    if (lane.width == 1) {
        std::memcpy(dst + from, planes[0] + from, lanes - from);
        return;
    }
    with_lane(lane, [&]<unsigned W, Form F>()
                        __attribute__((always_inline)) { merge_as<W, F>(dst, from, lanes, before, planes); });
}
}  // namespace dcpx::lanes
