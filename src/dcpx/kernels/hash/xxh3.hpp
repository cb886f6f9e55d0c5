// XXH3-64, as the frame's checksums are made of.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dcpx {

// The same value on every instruction set; the fastest that float_codec.hpp's path allows is used.
std::uint64_t xxh3(const std::uint8_t* data, std::size_t size, std::uint64_t seed) noexcept;

namespace hash {
using Function = std::uint64_t (*)(const void*, std::size_t, std::uint64_t) noexcept;
std::uint64_t xxh3_portable(const void* data, std::size_t size, std::uint64_t seed) noexcept;
std::uint64_t xxh3_avx2(const void* data, std::size_t size, std::uint64_t seed) noexcept;
std::uint64_t xxh3_avx512(const void* data, std::size_t size, std::uint64_t seed) noexcept;
// The 128-bit variant, least significant byte first; only small inputs are hashed with it.
void xxh3_128(const void* data, std::size_t size, std::uint8_t* digest) noexcept;
}  // namespace hash
}  // namespace dcpx
