// AVX-512 (BW): prefix encoding. Thirty-two codes are looked up with word permutes and joined in pairs, fours and
// eights by variable shifts; only eights (or fours, when long) go through the serial bit writer. The rest is the AVX2
// path.
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // in the header itself (GCC bug 105593)
#endif
#include <immintrin.h>

#include "loops.hpp"

#define DCPX_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2,lzcnt")))

namespace dcpx {
namespace {

DCPX_AVX512 inline __m512i table_part(const PrefixEncoder& t, unsigned from) {
    return _mm512_loadu_si512(t.entry + from);
}

// A permute looks up 64 entries: enough for exponents (Narrow), else four of them, chosen by the top two bits.
template <bool Narrow>
DCPX_AVX512 void encode(const u8* sym, size_t n, const PrefixEncoder& t, Appender& writer) {
    Appender w = writer;
    const unsigned lo = Narrow ? t.low : 0;
    const __m512i low = _mm512_set1_epi16(short(lo));
    const __m512i t0 = table_part(t, lo), t1 = table_part(t, lo + 32);
    __m512i t2{}, t3{}, t4{}, t5{}, t6{}, t7{};
    if constexpr (!Narrow) {
        t2 = table_part(t, 64), t3 = table_part(t, 96), t4 = table_part(t, 128);
        t5 = table_part(t, 160), t6 = table_part(t, 192), t7 = table_part(t, 224);
    }
    const __m512i bit6 = _mm512_set1_epi16(64), bit7 = _mm512_set1_epi16(128);
    const __m512i low32 = _mm512_set1_epi64(0xffffffff), length_mask = _mm512_set1_epi16(15),
                  one = _mm512_set1_epi16(1);
    const __m512i code12 = _mm512_set1_epi32(0xfff);
    alignas(64) u64 code[8], length[8];
    size_t i = n;
    for (; i >= 32; i -= 32) {
        const __m512i s = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sym + i - 32)));
        __m512i x;
        if constexpr (Narrow) {
            x = _mm512_permutex2var_epi16(t0, _mm512_sub_epi16(s, low), t1);
        } else {
            const __mmask32 is6 = _mm512_test_epi16_mask(s, bit6), is7 = _mm512_test_epi16_mask(s, bit7);
            const __m512i a = _mm512_mask_blend_epi16(is6, _mm512_permutex2var_epi16(t0, s, t1),
                                                      _mm512_permutex2var_epi16(t2, s, t3));
            const __m512i b = _mm512_mask_blend_epi16(is6, _mm512_permutex2var_epi16(t4, s, t5),
                                                      _mm512_permutex2var_epi16(t6, s, t7));
            x = _mm512_mask_blend_epi16(is7, a, b);
        }
        // The last symbol comes first, in the lowest bits: the upper half of every pair stays, the lower is shifted
        // past it.
        const __m512i lengths = _mm512_and_si512(x, length_mask);
        const __m512i odd = _mm512_srli_epi32(x, 20), even = _mm512_and_si512(_mm512_srli_epi32(x, 4), code12);
        const __m512i pair = _mm512_or_si512(odd, _mm512_sllv_epi32(even, _mm512_srli_epi32(lengths, 16)));
        const __m512i pair_len = _mm512_madd_epi16(lengths, one);
        const __m512i upper = _mm512_srli_epi64(pair_len, 32);
        const __m512i four =
            _mm512_or_si512(_mm512_srli_epi64(pair, 32), _mm512_sllv_epi64(_mm512_and_si512(pair, low32), upper));
        const __m512i four_len = _mm512_and_si512(_mm512_add_epi64(pair_len, upper), low32);
        const __m512i next_len = _mm512_bsrli_epi128(four_len, 8);
        const __m512i eight_len = _mm512_add_epi64(four_len, next_len);
        if (_mm512_mask_cmpgt_epu64_mask(0x55, eight_len, _mm512_set1_epi64(56))) [[unlikely]] {
            _mm512_store_si512(code, four);
            _mm512_store_si512(length, four_len);
            for (int j = 7; j >= 0; --j) append(w, code[j], length[j]);
            continue;
        }
        _mm512_store_si512(code, _mm512_or_si512(_mm512_bsrli_epi128(four, 8), _mm512_sllv_epi64(four, next_len)));
        _mm512_store_si512(length, eight_len);
        append(w, code[6], length[6]);
        append(w, code[4], length[4]);
        append(w, code[2], length[2]);
        append(w, code[0], length[0]);
    }
    loops::prefix_encode_tail(sym, i, t, w);
    writer = w;
}

DCPX_AVX512 void prefix_encode(const u8* sym, size_t n, const PrefixEncoder& t, Appender& w) {
    if (t.span <= 64)
        encode<true>(sym, n, t, w);
    else
        encode<false>(sym, n, t, w);
}
}  // namespace

extern const Kernels avx512_kernels{avx2::split,         avx2::merge,       avx2::screen,      prefix_encode,
                                    avx2::prefix_decode, avx2::tans_encode, avx2::tans_decode, avx2::fence};
}  // namespace dcpx
#endif
