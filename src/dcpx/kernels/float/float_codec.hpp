// The float codec: lossless coding of one chunk of tensor bytes. The face of this folder; spec/float.md has the bytes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dcpx {

// How bytes group: a lane has 1, 2, 4 or 8 of them. Floats of several bytes have their sign rotated to the lowest bit,
// so that the top byte holds only exponent (f16: and three mantissa bits); rotating one byte would change no histogram.
struct Lane {
    unsigned width;
    bool rotated;
};
constexpr bool is_lane(Lane lane) {
    return lane.width == 1 ? !lane.rotated : lane.width == 2 || lane.width == 4 || lane.width == 8;
}

enum class Level : std::uint8_t { fast = 0, small = 1 };

enum class Status : std::uint8_t {
    ok = 0,
    bad_argument,  // the caller's lengths or lane, not the data
    truncated,     // the chunk ends before what its header promises
    trailing,      // ... or after
    bad_method,    // unknown plane method
    bad_table,     // code lengths or frequencies that are no full code
    bad_stream,    // a stream decodes to more or fewer symbols or bits than it must
    bad_patch,     // patch positions not ascending, or outside the chunk
};

inline constexpr std::size_t max_chunk = std::size_t{16} << 20;

// Scratch that the caller allocates (any alignment). Neither function allocates.
constexpr std::size_t encode_scratch(std::size_t n) { return n + n / 2 + n / 8 + (std::size_t{384} << 10); }
inline constexpr std::size_t decode_scratch = std::size_t{384} << 10;

// Coded size, always < n; 0 when the chunk would not get smaller (store it raw) or does not fit dst.
std::size_t encode(const std::uint8_t* src, std::size_t n, Lane lane, Level level, std::uint8_t* dst,
                   std::size_t dst_cap, void* scratch) noexcept;

// Writes exactly raw_len bytes on Status::ok; otherwise dst's contents are unspecified, but nothing outside it is
// touched.
Status decode(const std::uint8_t* src, std::size_t src_len, Lane lane, std::uint8_t* dst, std::size_t raw_len,
              void* scratch) noexcept;

// Instruction sets. All give identical bytes. `best` is what this CPU has; forcing a path that it lacks returns false.
enum class Path : std::uint8_t { portable = 0, avx2 = 1, avx512 = 2, best = 255 };
bool force_path(Path path) noexcept;
Path current_path() noexcept;

}  // namespace dcpx
