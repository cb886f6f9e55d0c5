// XXH3: 64 bits, as the frame's checksums are made of, and 128, for whole files.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dcpx {

// The same value on every instruction set; the fastest that float_codec.hpp's path allows is used.
std::uint64_t xxh3(const std::uint8_t* data, std::size_t size, std::uint64_t seed) noexcept;

// XXH3 of bytes that come piece by piece. Pieces may be hashed with different instruction sets.
class Xxh3 {
  public:
    Xxh3() noexcept;
    void update(const void* data, std::size_t size) noexcept;
    // Copies `data` to `copy` and hashes the copy. `data` is read once, so the two agree whatever is written to it
    // meanwhile, and each piece is hashed while it is in the first-level cache.
    void update_copying(const std::uint8_t* data, std::size_t size, std::uint8_t* copy) noexcept;
    // XXH3-128: 16 bytes, the least significant first; more pieces may follow.
    void digest(std::uint8_t* digest) const noexcept;
    // XXH3-64 of the same bytes.
    std::uint64_t digest64() const noexcept;

  private:
    alignas(64) std::uint8_t state_[576];  // an XXH3_state_t, whose header each instruction set compiles anew
};

namespace hash {
using Function = std::uint64_t (*)(const void*, std::size_t, std::uint64_t) noexcept;
std::uint64_t xxh3_portable(const void* data, std::size_t size, std::uint64_t seed) noexcept;
std::uint64_t xxh3_avx2(const void* data, std::size_t size, std::uint64_t seed) noexcept;
std::uint64_t xxh3_avx512(const void* data, std::size_t size, std::uint64_t seed) noexcept;
// The 128-bit variant, least significant byte first; only small inputs are hashed with it.
void xxh3_128(const void* data, std::size_t size, std::uint8_t* digest) noexcept;
// The state is an XXH3_state_t.
void xxh3_update_portable(void* state, const void* data, std::size_t size) noexcept;
void xxh3_update_avx2(void* state, const void* data, std::size_t size) noexcept;
void xxh3_update_avx512(void* state, const void* data, std::size_t size) noexcept;
}  // namespace hash
}  // namespace dcpx
