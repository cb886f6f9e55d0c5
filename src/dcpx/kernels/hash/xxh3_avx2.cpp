// Nothing but the vendored header is compiled for AVX2 here: an inline function of another header could be linked in
// place of its portable twin.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#include <immintrin.h>
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include "../third_party/xxhash.h"
#include "xxh3.hpp"

std::uint64_t dcpx::hash::xxh3_avx2(const void* data, std::size_t size, std::uint64_t seed) noexcept {
    return XXH3_64bits_withSeed(data, size, seed);
}

void dcpx::hash::xxh3_update_avx2(void* state, const void* data, std::size_t size) noexcept {
    XXH3_128bits_update(static_cast<XXH3_state_t*>(state), data, size);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
