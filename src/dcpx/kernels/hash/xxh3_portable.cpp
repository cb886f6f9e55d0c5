#define XXH_INLINE_ALL
#include "../float/float_codec.hpp"
#include "../third_party/xxhash.h"
#include "xxh3.hpp"

namespace dcpx {

std::uint64_t hash::xxh3_portable(const void* data, std::size_t size, std::uint64_t seed) noexcept {
    return XXH3_64bits_withSeed(data, size, seed);
}

void hash::xxh3_128(const void* data, std::size_t size, std::uint8_t* digest) noexcept {
    const XXH128_hash_t value = XXH3_128bits(data, size);
    for (unsigned i = 0; i < 8; ++i) {
        digest[i] = static_cast<std::uint8_t>(value.low64 >> (8 * i));
        digest[8 + i] = static_cast<std::uint8_t>(value.high64 >> (8 * i));
    }
}

std::uint64_t xxh3(const std::uint8_t* data, std::size_t size, std::uint64_t seed) noexcept {
#if defined(__x86_64__)
    switch (current_path()) {
        case Path::avx512:
            return hash::xxh3_avx512(data, size, seed);
        case Path::avx2:
            return hash::xxh3_avx2(data, size, seed);
        default:
            break;
    }
#endif
    return hash::xxh3_portable(data, size, seed);
}

}  // namespace dcpx
