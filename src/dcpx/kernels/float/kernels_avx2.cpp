// AVX2 + BMI2. Splitting and merging for lanes of 2 and 4 bytes, screening; the coders are the common loops with BMI2
// shifts.
#if defined(__x86_64__)
#include <immintrin.h>

#include "loops.hpp"

#define DCPX_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt")))

namespace dcpx {
namespace {
DCPX_AVX2 inline __m256i load(const u8* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
DCPX_AVX2 inline void store(u8* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

DCPX_AVX2 size_t split2(const u8* src, size_t lanes, bool rot, u8* const* planes) {
    const __m256i low = _mm256_set1_epi16(0xff);
    const int left = rot ? 1 : 0, right = rot ? 15 : 16;  // a shift by 16 gives zero
    const __m128i by_right = _mm_cvtsi32_si128(right), by_left = _mm_cvtsi32_si128(left);
    u8 *p0 = planes[0], *p1 = planes[1];
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        __m256i a = load(src + 2 * i), b = load(src + 2 * i + 32);
        a = _mm256_or_si256(_mm256_sll_epi16(a, by_left), _mm256_srl_epi16(a, by_right));
        b = _mm256_or_si256(_mm256_sll_epi16(b, by_left), _mm256_srl_epi16(b, by_right));
        const __m256i lo = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        const __m256i hi = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
        store(p0 + i, _mm256_permute4x64_epi64(lo, 0xd8));
        store(p1 + i, _mm256_permute4x64_epi64(hi, 0xd8));
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
template <bool Stream>
DCPX_AVX2 size_t merge2(u8* dst, size_t lanes, bool rot, const u8* const* planes) {
    const __m128i by_right = _mm_cvtsi32_si128(rot ? 1 : 0), by_left = _mm_cvtsi32_si128(rot ? 15 : 16);
    const u8 *p0 = planes[0], *p1 = planes[1];
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        const __m256i lo = _mm256_permute4x64_epi64(load(p0 + i), 0xd8),
                      hi = _mm256_permute4x64_epi64(load(p1 + i), 0xd8);
        __m256i a = _mm256_unpacklo_epi8(lo, hi), b = _mm256_unpackhi_epi8(lo, hi);
        a = _mm256_or_si256(_mm256_srl_epi16(a, by_right), _mm256_sll_epi16(a, by_left));
        b = _mm256_or_si256(_mm256_srl_epi16(b, by_right), _mm256_sll_epi16(b, by_left));
        put<Stream>(dst + 2 * i, a);
        put<Stream>(dst + 2 * i + 32, b);
    }
    return i;
}
DCPX_AVX2 size_t split4(const u8* src, size_t lanes, bool rot, u8* const* planes) {
    const __m128i by_left = _mm_cvtsi32_si128(rot ? 1 : 0), by_right = _mm_cvtsi32_si128(rot ? 31 : 32);
    const __m256i gather =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        __m256i v[4];
        for (int j = 0; j < 4; ++j) {  // 8 lanes -> 8 bytes of each plane, as four 64-bit quarters
            const __m256i x = load(src + 4 * i + 32 * j);
            const __m256i y = _mm256_or_si256(_mm256_sll_epi32(x, by_left), _mm256_srl_epi32(x, by_right));
            v[j] = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(y, gather), order);
        }
        const __m256i a = _mm256_unpacklo_epi64(v[0], v[1]), b = _mm256_unpackhi_epi64(v[0], v[1]);
        const __m256i c = _mm256_unpacklo_epi64(v[2], v[3]), d = _mm256_unpackhi_epi64(v[2], v[3]);
        store(planes[0] + i, _mm256_permute2x128_si256(a, c, 0x20));
        store(planes[1] + i, _mm256_permute2x128_si256(b, d, 0x20));
        store(planes[2] + i, _mm256_permute2x128_si256(a, c, 0x31));
        store(planes[3] + i, _mm256_permute2x128_si256(b, d, 0x31));
    }
    return i;
}
template <bool Stream>
DCPX_AVX2 size_t merge4(u8* dst, size_t lanes, bool rot, const u8* const* planes) {
    const __m128i by_right = _mm_cvtsi32_si128(rot ? 1 : 0), by_left = _mm_cvtsi32_si128(rot ? 31 : 32);
    size_t i = 0;
    for (; i + 32 <= lanes; i += 32) {
        const __m256i p0 = load(planes[0] + i), p1 = load(planes[1] + i), p2 = load(planes[2] + i),
                      p3 = load(planes[3] + i);
        const __m256i a = _mm256_unpacklo_epi8(p0, p1), b = _mm256_unpackhi_epi8(p0, p1);
        const __m256i c = _mm256_unpacklo_epi8(p2, p3), d = _mm256_unpackhi_epi8(p2, p3);
        __m256i v[4] = {_mm256_unpacklo_epi16(a, c), _mm256_unpackhi_epi16(a, c), _mm256_unpacklo_epi16(b, d),
                        _mm256_unpackhi_epi16(b, d)};  // lanes 4j.. and 16 + 4j..
        for (__m256i& x : v) x = _mm256_or_si256(_mm256_srl_epi32(x, by_right), _mm256_sll_epi32(x, by_left));
        put<Stream>(dst + 4 * i, _mm256_permute2x128_si256(v[0], v[1], 0x20));
        put<Stream>(dst + 4 * i + 32, _mm256_permute2x128_si256(v[2], v[3], 0x20));
        put<Stream>(dst + 4 * i + 64, _mm256_permute2x128_si256(v[0], v[1], 0x31));
        put<Stream>(dst + 4 * i + 96, _mm256_permute2x128_si256(v[2], v[3], 0x31));
    }
    return i;
}

}  // namespace

namespace avx2 {
DCPX_AVX2 void split(const u8* src, size_t n, unsigned width, bool rot, u8* const* planes) {
    const size_t from = width == 2 ? split2(src, n, rot, planes) : width == 4 ? split4(src, n, rot, planes) : 0;
    loops::split_any(src, from, n, width, rot, planes);
}
DCPX_AVX2 void merge(u8* dst, size_t n, unsigned width, bool rot, const u8* const* planes) {
    const bool aligned = (reinterpret_cast<std::uintptr_t>(dst) & 31) == 0;
    size_t from = 0;
    if (width == 2) from = aligned ? merge2<true>(dst, n, rot, planes) : merge2<false>(dst, n, rot, planes);
    if (width == 4) from = aligned ? merge4<true>(dst, n, rot, planes) : merge4<false>(dst, n, rot, planes);
    loops::merge_any(dst, from, n, width, rot, planes);
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
