#define XXH_INLINE_ALL
#include <algorithm>
#include <cstring>
#include <new>

#include "../float/float_codec.hpp"
#include "../third_party/xxhash.h"
#include "xxh3.hpp"

namespace dcpx {
namespace {

void store(XXH128_hash_t value, std::uint8_t* digest) noexcept {
    for (unsigned i = 0; i < 8; ++i) {
        digest[i] = static_cast<std::uint8_t>(value.low64 >> (8 * i));
        digest[8 + i] = static_cast<std::uint8_t>(value.high64 >> (8 * i));
    }
}

}  // namespace

std::uint64_t hash::xxh3_portable(const void* data, std::size_t size, std::uint64_t seed) noexcept {
    return XXH3_64bits_withSeed(data, size, seed);
}

void hash::xxh3_128(const void* data, std::size_t size, std::uint8_t* digest) noexcept {
    store(XXH3_128bits(data, size), digest);
}

void hash::xxh3_update_portable(void* state, const void* data, std::size_t size) noexcept {
    XXH3_128bits_update(static_cast<XXH3_state_t*>(state), data, size);
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

Xxh3::Xxh3() noexcept {
    static_assert(sizeof(XXH3_state_t) == sizeof state_ && alignof(XXH3_state_t) == alignof(Xxh3));
    XXH3_128bits_reset(new (state_) XXH3_state_t);
}

void Xxh3::update(const void* data, std::size_t size) noexcept {
#if defined(__x86_64__)
    switch (current_path()) {
        case Path::avx512:
            return hash::xxh3_update_avx512(state_, data, size);
        case Path::avx2:
            return hash::xxh3_update_avx2(state_, data, size);
        default:
            break;
    }
#endif
    hash::xxh3_update_portable(state_, data, size);
}

void Xxh3::update_copying(const std::uint8_t* data, std::size_t size, std::uint8_t* copy) noexcept {
    constexpr std::size_t piece = std::size_t{16} << 10;
    for (std::size_t begin = 0; begin < size; begin += piece) {
        const std::size_t count = std::min(piece, size - begin);
        std::memcpy(copy + begin, data + begin, count);
        update(copy + begin, count);
    }
}

void Xxh3::digest(std::uint8_t* digest) const noexcept {
    store(XXH3_128bits_digest(reinterpret_cast<const XXH3_state_t*>(state_)), digest);
}

std::uint64_t Xxh3::digest64() const noexcept {  // both variants take in their bytes alike
    return XXH3_64bits_digest(reinterpret_cast<const XXH3_state_t*>(state_));
}

}  // namespace dcpx
