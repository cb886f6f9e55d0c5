// AVX2 + BMI2. Splitting and merging for lanes of several bytes, screening; the coders are the common loops with BMI2
// shifts.
#if defined(__x86_64__)
#include <immintrin.h>

#include "lanes.hpp"
#include "loops.hpp"

#define DCPX_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt")))

namespace dcpx {
namespace {
DCPX_AVX2 inline __m256i load(const u8* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
DCPX_AVX2 inline void store(u8* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

// Vectors of lanes in their form. `at` is where the lanes lie: differences ask for the one before as well.
template <Form F>
DCPX_AVX2 inline __m256i shaped2(const u8* at) {
    const __m256i v = load(at);
    if constexpr (lanes::turn(F) != 0)
        return _mm256_or_si256(_mm256_slli_epi16(v, lanes::turn(F)), _mm256_srli_epi16(v, 16 - lanes::turn(F)));
    if constexpr (F == Form::differences) {
        const __m256i step = _mm256_sub_epi16(v, load(at - 2));
        return _mm256_xor_si256(_mm256_slli_epi16(step, 1), _mm256_srai_epi16(step, 15));
    }
    return v;
}
template <Form F>
DCPX_AVX2 inline __m256i shaped4(const u8* at) {
    const __m256i v = load(at);
    if constexpr (lanes::turn(F) != 0)
        return _mm256_or_si256(_mm256_slli_epi32(v, lanes::turn(F)), _mm256_srli_epi32(v, 32 - lanes::turn(F)));
    if constexpr (F == Form::differences) {
        const __m256i step = _mm256_sub_epi32(v, load(at - 4));
        return _mm256_xor_si256(_mm256_slli_epi32(step, 1), _mm256_srai_epi32(step, 31));
    }
    return v;
}
DCPX_AVX2 inline __m256i swapped(__m256i v, int by, u64 mask) {  // the bits of the mask with those `by` above them
    const __m256i t = _mm256_and_si256(_mm256_xor_si256(v, _mm256_srli_epi64(v, by)), _mm256_set1_epi64x(i64(mask)));
    return _mm256_xor_si256(v, _mm256_xor_si256(t, _mm256_slli_epi64(t, by)));
}
DCPX_AVX2 inline __m256i turned(__m256i v) {  // lanes::transpose_bits
    v = swapped(v, 7, 0x00AA00AA00AA00AA);
    v = swapped(v, 14, 0x0000CCCC0000CCCC);
    return swapped(v, 28, 0x00000000F0F0F0F0);
}
template <Form F>
DCPX_AVX2 inline __m256i shaped8(const u8* at) {
    const __m256i v = load(at);
    if constexpr (lanes::turn(F) != 0)
        return _mm256_or_si256(_mm256_slli_epi64(v, lanes::turn(F)), _mm256_srli_epi64(v, 64 - lanes::turn(F)));
    if constexpr (F == Form::bits) return turned(v);
    if constexpr (F == Form::differences) {
        const __m256i step = _mm256_sub_epi64(v, load(at - 8));
        return _mm256_xor_si256(_mm256_slli_epi64(step, 1), _mm256_cmpgt_epi64(_mm256_setzero_si256(), step));
    }
    return v;
}
// The way back. `last` holds the lane before in all its lanes, and gets these lanes' last one.
template <Form F>
DCPX_AVX2 inline __m256i unshaped2(__m256i v, __m256i& last) {
    if constexpr (lanes::turn(F) != 0)
        return _mm256_or_si256(_mm256_srli_epi16(v, lanes::turn(F)), _mm256_slli_epi16(v, 16 - lanes::turn(F)));
    if constexpr (F == Form::differences) {
        const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi16(1);
        const __m256i upper = _mm256_set1_epi32(0x03020302);  // a double word's upper word, twice
        __m256i sum = _mm256_xor_si256(_mm256_srli_epi16(v, 1), _mm256_sub_epi16(zero, _mm256_and_si256(v, one)));
        sum = _mm256_add_epi16(sum, _mm256_slli_si256(sum, 2));
        sum = _mm256_add_epi16(sum, _mm256_slli_si256(sum, 4));
        sum = _mm256_add_epi16(sum, _mm256_slli_si256(sum, 8));
        const __m256i lower = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(3)), upper);
        sum = _mm256_add_epi16(sum, _mm256_blend_epi32(zero, lower, 0xf0));
        const __m256i whole = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(7)), upper);
        sum = _mm256_add_epi16(sum, last);
        last = _mm256_add_epi16(whole, last);
        return sum;
    }
    return v;
}
template <Form F>
DCPX_AVX2 inline __m256i unshaped4(__m256i v, __m256i& last) {
    if constexpr (lanes::turn(F) != 0)
        return _mm256_or_si256(_mm256_srli_epi32(v, lanes::turn(F)), _mm256_slli_epi32(v, 32 - lanes::turn(F)));
    if constexpr (F == Form::differences) {
        const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi32(1);
        __m256i sum = _mm256_xor_si256(_mm256_srli_epi32(v, 1), _mm256_sub_epi32(zero, _mm256_and_si256(v, one)));
        sum = _mm256_add_epi32(sum, _mm256_slli_si256(sum, 4));
        sum = _mm256_add_epi32(sum, _mm256_slli_si256(sum, 8));
        const __m256i lower = _mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(3));
        sum = _mm256_add_epi32(sum, _mm256_blend_epi32(zero, lower, 0xf0));
        const __m256i whole = _mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(7));
        sum = _mm256_add_epi32(sum, last);
        last = _mm256_add_epi32(whole, last);
        return sum;
    }
    return v;
}

template <Form F>
DCPX_AVX2 inline __m256i unshaped8(__m256i v, __m256i& last) {
    if constexpr (lanes::turn(F) != 0)
        return _mm256_or_si256(_mm256_srli_epi64(v, lanes::turn(F)), _mm256_slli_epi64(v, 64 - lanes::turn(F)));
    if constexpr (F == Form::bits) return turned(v);
    if constexpr (F == Form::differences) {
        const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi64x(1);
        __m256i sum = _mm256_xor_si256(_mm256_srli_epi64(v, 1), _mm256_sub_epi64(zero, _mm256_and_si256(v, one)));
        sum = _mm256_add_epi64(sum, _mm256_slli_si256(sum, 8));
        sum = _mm256_add_epi64(sum, _mm256_blend_epi32(zero, _mm256_permute4x64_epi64(sum, 0x55), 0xf0));
        const __m256i whole = _mm256_permute4x64_epi64(sum, 0xff);
        sum = _mm256_add_epi64(sum, last);
        last = _mm256_add_epi64(whole, last);
        return sum;
    }
    return v;
}

template <Form F>
DCPX_AVX2 size_t split2(const u8* src, size_t from, size_t lanes, u8* const* planes) {
    const __m256i low = _mm256_set1_epi16(0xff);
    size_t i = from;
    for (; i + 32 <= lanes; i += 32) {
        const __m256i a = shaped2<F>(src + 2 * i), b = shaped2<F>(src + 2 * i + 32);
        const __m256i lo = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        const __m256i hi = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
        store(planes[0] + i, _mm256_permute4x64_epi64(lo, 0xd8));
        store(planes[1] + i, _mm256_permute4x64_epi64(hi, 0xd8));
    }
    return i;
}
template <Form F>
DCPX_AVX2 size_t split4(const u8* src, size_t from, size_t lanes, u8* const* planes) {
    const __m256i gather =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = from;
    for (; i + 32 <= lanes; i += 32) {
        __m256i v[4];
        for (int j = 0; j < 4; ++j)  // 8 lanes -> 8 bytes of each plane, as four 64-bit quarters
            v[j] = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(shaped4<F>(src + 4 * i + 32 * j), gather), order);
        const __m256i a = _mm256_unpacklo_epi64(v[0], v[1]), b = _mm256_unpackhi_epi64(v[0], v[1]);
        const __m256i c = _mm256_unpacklo_epi64(v[2], v[3]), d = _mm256_unpackhi_epi64(v[2], v[3]);
        store(planes[0] + i, _mm256_permute2x128_si256(a, c, 0x20));
        store(planes[1] + i, _mm256_permute2x128_si256(b, d, 0x20));
        store(planes[2] + i, _mm256_permute2x128_si256(a, c, 0x31));
        store(planes[3] + i, _mm256_permute2x128_si256(b, d, 0x31));
    }
    return i;
}

template <Form F>
DCPX_AVX2 size_t split8(const u8* src, size_t from, size_t lanes, u8* const* planes) {
    const __m256i pairs =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = from;
    for (; i + 32 <= lanes; i += 32) {
        __m256i v[8];  // of 8 lanes each: planes 0..3, and 4..7 behind
        for (int j = 0; j < 4; ++j) {
            const __m256i a = _mm256_shuffle_epi8(shaped8<F>(src + 8 * i + 64 * j), pairs);
            const __m256i b = _mm256_shuffle_epi8(shaped8<F>(src + 8 * i + 64 * j + 32), pairs);
            const __m256i even = _mm256_permute2x128_si256(a, b, 0x20), odd = _mm256_permute2x128_si256(a, b, 0x31);
            v[j] = _mm256_permutevar8x32_epi32(_mm256_unpacklo_epi16(even, odd), order);
            v[j + 4] = _mm256_permutevar8x32_epi32(_mm256_unpackhi_epi16(even, odd), order);
        }
        for (int h = 0; h < 8; h += 4) {  // 4 x 4 matrices of quarters
            const __m256i a = _mm256_unpacklo_epi64(v[h], v[h + 1]), b = _mm256_unpackhi_epi64(v[h], v[h + 1]);
            const __m256i c = _mm256_unpacklo_epi64(v[h + 2], v[h + 3]), d = _mm256_unpackhi_epi64(v[h + 2], v[h + 3]);
            store(planes[h] + i, _mm256_permute2x128_si256(a, c, 0x20));
            store(planes[h + 1] + i, _mm256_permute2x128_si256(b, d, 0x20));
            store(planes[h + 2] + i, _mm256_permute2x128_si256(a, c, 0x31));
            store(planes[h + 3] + i, _mm256_permute2x128_si256(b, d, 0x31));
        }
    }
    return i;
}

// The merged lanes are the caller's result, not read again here: streaming stores leave the caches to what is.
template <bool Stream>
DCPX_AVX2 inline void put(u8* p, __m256i v) {
    if constexpr (Stream)
        _mm256_stream_si256(reinterpret_cast<__m256i*>(p), v);
    else
        store(p, v);
}
template <Form F, bool Stream>
DCPX_AVX2 size_t merge2(u8* dst, size_t lanes, u64& before, const u8* const* planes) {
    const u8 *p0 = planes[0], *p1 = planes[1];
    __m256i last = _mm256_set1_epi16(short(before));
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        const __m256i lo = _mm256_permute4x64_epi64(load(p0 + i), 0xd8),
                      hi = _mm256_permute4x64_epi64(load(p1 + i), 0xd8);
        put<Stream>(dst + 2 * i, unshaped2<F>(_mm256_unpacklo_epi8(lo, hi), last));
        put<Stream>(dst + 2 * i + 32, unshaped2<F>(_mm256_unpackhi_epi8(lo, hi), last));
    }
    if (i) before = u16(_mm256_extract_epi16(last, 0));
    return i;
}
template <Form F, bool Stream>
DCPX_AVX2 size_t merge4(u8* dst, size_t lanes, u64& before, const u8* const* planes) {
    __m256i last = _mm256_set1_epi32(int(before));
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        const __m256i p0 = load(planes[0] + i), p1 = load(planes[1] + i), p2 = load(planes[2] + i),
                      p3 = load(planes[3] + i);
        const __m256i a = _mm256_unpacklo_epi8(p0, p1), b = _mm256_unpackhi_epi8(p0, p1);
        const __m256i c = _mm256_unpacklo_epi8(p2, p3), d = _mm256_unpackhi_epi8(p2, p3);
        const __m256i v0 = _mm256_unpacklo_epi16(a, c), v1 = _mm256_unpackhi_epi16(a, c),
                      v2 = _mm256_unpacklo_epi16(b, d), v3 = _mm256_unpackhi_epi16(b, d);  // lanes 4j.. and 16 + 4j..
        put<Stream>(dst + 4 * i, unshaped4<F>(_mm256_permute2x128_si256(v0, v1, 0x20), last));
        put<Stream>(dst + 4 * i + 32, unshaped4<F>(_mm256_permute2x128_si256(v2, v3, 0x20), last));
        put<Stream>(dst + 4 * i + 64, unshaped4<F>(_mm256_permute2x128_si256(v0, v1, 0x31), last));
        put<Stream>(dst + 4 * i + 96, unshaped4<F>(_mm256_permute2x128_si256(v2, v3, 0x31), last));
    }
    if (i) before = u32(_mm256_cvtsi256_si32(last));
    return i;
}

template <Form F, bool Stream>
DCPX_AVX2 size_t merge8(u8* dst, size_t lanes, u64& before, const u8* const* planes) {
    __m256i last = _mm256_set1_epi64x(i64(before));
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        __m256i two[8], four[8], v[8];  // of lanes 0..7 and 16..23, then of 8..15 and 24..31: two planes, four, all
        for (int p = 0; p < 4; ++p) {
            const __m256i a = load(planes[2 * p] + i), b = load(planes[2 * p + 1] + i);
            two[p] = _mm256_unpacklo_epi8(a, b), two[p + 4] = _mm256_unpackhi_epi8(a, b);
        }
        for (int h = 0; h < 8; h += 4) {
            four[h] = _mm256_unpacklo_epi16(two[h], two[h + 1]),
            four[h + 1] = _mm256_unpackhi_epi16(two[h], two[h + 1]);
            four[h + 2] = _mm256_unpacklo_epi16(two[h + 2], two[h + 3]);
            four[h + 3] = _mm256_unpackhi_epi16(two[h + 2], two[h + 3]);
            v[h] = _mm256_unpacklo_epi32(four[h], four[h + 2]), v[h + 1] = _mm256_unpackhi_epi32(four[h], four[h + 2]);
            v[h + 2] = _mm256_unpacklo_epi32(four[h + 1], four[h + 3]);
            v[h + 3] = _mm256_unpackhi_epi32(four[h + 1], four[h + 3]);
        }
        for (int half = 0; half < 2; ++half)  // lanes 0..15, then 16..31
            for (int j = 0; j < 8; j += 2) {
                const __m256i both = half ? _mm256_permute2x128_si256(v[j], v[j + 1], 0x31)
                                          : _mm256_permute2x128_si256(v[j], v[j + 1], 0x20);
                put<Stream>(dst + 8 * i + 128 * half + 16 * j, unshaped8<F>(both, last));
            }
    }
    if (i) before = u64(_mm256_extract_epi64(last, 0));
    return i;
}

// Whole vectors of the lanes, from a vector on that has a lane before it; the number of lanes done.
template <Form F>
DCPX_AVX2 size_t split_vectors(const u8* src, size_t from, size_t lanes, unsigned width, u8* const* planes) {
    if (width == 8) return split8<F>(src, from, lanes, planes);
    return width == 2 ? split2<F>(src, from, lanes, planes) : split4<F>(src, from, lanes, planes);
}
template <Form F>
DCPX_AVX2 size_t merge_vectors(u8* dst, size_t lanes, unsigned width, u64& before, const u8* const* planes) {
    const bool aligned = (reinterpret_cast<std::uintptr_t>(dst) & 31) == 0;
    if (width == 8)
        return aligned ? merge8<F, true>(dst, lanes, before, planes) : merge8<F, false>(dst, lanes, before, planes);
    if (width == 2)
        return aligned ? merge2<F, true>(dst, lanes, before, planes) : merge2<F, false>(dst, lanes, before, planes);
    return aligned ? merge4<F, true>(dst, lanes, before, planes) : merge4<F, false>(dst, lanes, before, planes);
}
// Codes of eight symbols, joined as the AVX-512 path does it: `eight` in the lower half of each 128 bits, and the
// `four`s that it is made of.
struct Joined {
    __m256i four, four_length, eight, eight_length;
};
DCPX_AVX2 inline Joined joined(__m256i entries) {
    const __m256i low32 = _mm256_set1_epi64x(0xffffffff);
    const __m256i lengths = _mm256_and_si256(entries, _mm256_set1_epi16(15));
    const __m256i even = _mm256_and_si256(_mm256_srli_epi32(entries, 4), _mm256_set1_epi32(0xfff));
    const __m256i pair =
        _mm256_or_si256(_mm256_srli_epi32(entries, 20), _mm256_sllv_epi32(even, _mm256_srli_epi32(lengths, 16)));
    const __m256i pair_length = _mm256_madd_epi16(lengths, _mm256_set1_epi16(1));
    const __m256i upper = _mm256_srli_epi64(pair_length, 32);
    const __m256i four =
        _mm256_or_si256(_mm256_srli_epi64(pair, 32), _mm256_sllv_epi64(_mm256_and_si256(pair, low32), upper));
    const __m256i four_length = _mm256_and_si256(_mm256_add_epi64(pair_length, upper), low32);
    const __m256i next = _mm256_bsrli_epi128(four_length, 8);
    const __m256i eight = _mm256_or_si256(_mm256_bsrli_epi128(four, 8), _mm256_sllv_epi64(four, next));
    return {four, four_length, eight, _mm256_add_epi64(four_length, next)};
}

// Codes that lie within Parts * 16 entries: 32 symbols at a time, their entries looked up byte by byte in shuffles
// of 16. Returns how many symbols are left, the first ones.
template <unsigned Parts>
DCPX_AVX2 size_t encode_narrow(const u8* sym, size_t n, const PrefixEncoder& t, Appender& writer) {
    __m256i first[Parts], lower[Parts], upper[Parts];
    for (unsigned k = 0; k < Parts; ++k) {
        const u8* const at = reinterpret_cast<const u8*>(t.entry + t.low + 16 * k);
        const __m256i entries = load(at), low = _mm256_and_si256(entries, _mm256_set1_epi16(0xff));
        const __m256i bytes = _mm256_packus_epi16(low, _mm256_srli_epi16(entries, 8));
        const __m256i sorted = _mm256_permute4x64_epi64(bytes, 0xd8);
        lower[k] = _mm256_permute2x128_si256(sorted, sorted, 0x00);
        upper[k] = _mm256_permute2x128_si256(sorted, sorted, 0x11);
        first[k] = _mm256_set1_epi8(char(t.low + 16 * k));
    }
    Appender w = writer;
    size_t i = n;
    for (; i >= 32; i -= 32) {
        const __m256i s = load(sym + i - 32);
        __m256i low = _mm256_setzero_si256(), high = low;
        for (unsigned k = 0; k < Parts;
             ++k) {  // an index beyond these 16 gets its top bit, for which a shuffle gives zero
            const __m256i index = _mm256_adds_epu8(_mm256_sub_epi8(s, first[k]), _mm256_set1_epi8(112));
            low = _mm256_or_si256(low, _mm256_shuffle_epi8(lower[k], index));
            high = _mm256_or_si256(high, _mm256_shuffle_epi8(upper[k], index));
        }
        const Joined a = joined(_mm256_unpacklo_epi8(low, high)), b = joined(_mm256_unpackhi_epi8(low, high));
        const __m256i lengths = _mm256_unpacklo_epi64(a.eight_length, b.eight_length);
        alignas(32) u64 code[8], length[8];
        if (!_mm256_testz_si256(_mm256_cmpgt_epi64(lengths, _mm256_set1_epi64x(56)), _mm256_set1_epi8(-1)))
            [[unlikely]] {
            _mm256_store_si256(reinterpret_cast<__m256i*>(code), a.four);
            _mm256_store_si256(reinterpret_cast<__m256i*>(code + 4), b.four);
            _mm256_store_si256(reinterpret_cast<__m256i*>(length), a.four_length);
            _mm256_store_si256(reinterpret_cast<__m256i*>(length + 4), b.four_length);
            for (const int j : {7, 6, 3, 2, 5, 4, 1, 0}) append(w, code[j], length[j]);
            continue;
        }
        _mm256_store_si256(reinterpret_cast<__m256i*>(code), _mm256_unpacklo_epi64(a.eight, b.eight));
        _mm256_store_si256(reinterpret_cast<__m256i*>(length), lengths);
        for (int j = 3; j >= 0; --j) append(w, code[j], length[j]);
    }
    writer = w;
    return i;
}
}  // namespace

namespace avx2 {
DCPX_AVX2 void split(const u8* src, size_t n, Lane lane, u64 before, u8* const* planes) {
    size_t done = 0;
    if (lane.form == Form::bits) {
        done = split8<Form::bits>(src, 0, n, planes);
    } else if (lane.width > 1) {
        if (lane.form == Form::differences) {
            done = std::min<size_t>(n, 32);
            lanes::split(src, 0, done, lane, before, planes);
            done = split_vectors<Form::differences>(src, done, n, lane.width, planes);
            before = load_le(src + (done - 1) * lane.width, lane.width);
        } else if (lane.form == Form::rotated) {
            done = split_vectors<Form::rotated>(src, 0, n, lane.width, planes);
        } else if (lane.form == Form::joined) {
            done = split_vectors<Form::joined>(src, 0, n, lane.width, planes);
        } else {
            done = split_vectors<Form::plain>(src, 0, n, lane.width, planes);
        }
    }
    lanes::split(src, done, n, lane, before, planes);
}
DCPX_AVX2 void merge(u8* dst, size_t n, Lane lane, u64& before, const u8* const* planes) {
    size_t done = 0;
    if (lane.form == Form::bits) {
        done = merge8<Form::bits, false>(dst, n, before, planes);
    } else if (lane.width > 1) {
        if (lane.form == Form::differences)
            done = merge_vectors<Form::differences>(dst, n, lane.width, before, planes);
        else if (lane.form == Form::rotated)
            done = merge_vectors<Form::rotated>(dst, n, lane.width, before, planes);
        else if (lane.form == Form::joined)
            done = merge_vectors<Form::joined>(dst, n, lane.width, before, planes);
        else
            done = merge_vectors<Form::plain>(dst, n, lane.width, before, planes);
    }
    lanes::merge(dst, done, n, lane, before, planes);
}

// allowed[] is a bitmap of 256 bits; looked up by the symbol's high 5 bits (two shuffles of 16), then its low 3.
DCPX_AVX2 size_t screen(u8* sym, size_t n, const u8* allowed, u8 stand_in, u32 base, Patch* out, size_t cap) {
    const __m256i below = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(allowed)));
    const __m256i above = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(allowed + 16)));
    const __m256i bit =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128));
    size_t found = 0, i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i s = load(sym + i);
        const __m256i row = _mm256_and_si256(_mm256_srli_epi16(s, 3), _mm256_set1_epi8(15));
        const __m256i map = _mm256_blendv_epi8(_mm256_shuffle_epi8(below, row), _mm256_shuffle_epi8(above, row), s);
        const __m256i hit = _mm256_and_si256(map, _mm256_shuffle_epi8(bit, _mm256_and_si256(s, _mm256_set1_epi8(7))));
        if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(hit, _mm256_setzero_si256()))) [[unlikely]]
            found = loops::screen(sym, i, i + 32, allowed, stand_in, base, out, found, cap);
    }
    return loops::screen(sym, i, n, allowed, stand_in, base, out, found, cap);
}

static DCPX_AVX2 void prefix_encode(const u8* s, size_t n, const PrefixEncoder& t, Appender& w) {
    if (t.span <= 32)
        n = encode_narrow<2>(s, n, t, w);
    else if (t.span <= 64)
        n = encode_narrow<4>(s, n, t, w);
    loops::prefix_encode(s, n, t, w);
}
DCPX_AVX2 bool prefix_decode(const PrefixDecoder& t, Reader* r, u8* window, bool last, Ahead& ahead) {
    return loops::prefix_decode(t, r, window, last, ahead);
}
DCPX_AVX2 void tans_encode(const u8* s, size_t block, size_t n, const TansEncoder& t, Prepender* w, unsigned count) {
    loops::tans_encode(s, block, n, t, w, count);
}
DCPX_AVX2 bool tans_decode(const TansDecoder& t, Reader* r, u8* window, const u32* need, Ahead& ahead) {
    return loops::tans_decode(t, r, window, need, ahead);
}
void fence() { _mm_sfence(); }
}  // namespace avx2

extern const Kernels avx2_kernels{avx2::split,         avx2::merge,       avx2::screen,      avx2::prefix_encode,
                                  avx2::prefix_decode, avx2::tans_encode, avx2::tans_decode, avx2::fence};
}  // namespace dcpx
#endif
