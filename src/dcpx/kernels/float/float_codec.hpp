// The float codec: lossless coding of one chunk of tensor bytes. The face of this folder; spec/float.md has the bytes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dcpx {

// What is done to lanes before they are taken apart into planes.
enum class Form : std::uint8_t {
    plain = 0,
    rotated = 1,      // a float's sign moves to the lowest bit, so that the top byte holds only exponent
    differences = 2,  // from the lane before, with their sign in the lowest bit
    bits = 3,         // eight bytes' bits of equal value share a byte
    joined = 4,       // the top byte joins the low five bits of an eight-bit exponent and the mantissa's top three
    palette = 5,      // of few different values: their numbers, which are one plane
};

// How bytes group: a lane has 1, 2, 4 or 8 of them.
struct Lane {
    unsigned width;
    Form form;
};
constexpr bool is_lane(Lane lane) {
    if (lane.form == Form::bits) return lane.width == 8;
    if (lane.form > Form::palette) return false;
    return lane.width == 1 ? lane.form == Form::plain : lane.width == 2 || lane.width == 4 || lane.width == 8;
}

constexpr unsigned planes_of(Lane lane) { return lane.form == Form::palette ? 1 : lane.width; }

// A lane as the parameter of a chunk with codec 3; lane_of may give what is no lane.
constexpr unsigned parameter_of(Lane lane) { return lane.width | static_cast<unsigned>(lane.form) << 8; }
constexpr Lane lane_of(unsigned parameter) { return {parameter & 255, static_cast<Form>(parameter >> 8)}; }

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
    bad_number,    // a palette's value that a lane names and it lacks
};

inline constexpr std::size_t max_chunk = std::size_t{16} << 20;

// Scratch that the caller allocates (any alignment). Neither function allocates.
constexpr std::size_t encode_scratch(std::size_t n) { return n + n / 2 + n / 8 + (std::size_t{384} << 10); }
inline constexpr std::size_t decode_scratch = std::size_t{384} << 10;

// A chunk's coded size, always less than its own, and the lanes that were chosen for it, which decoding asks for. The
// size is 0 where the chunk wouldn't get smaller (store it raw) or doesn't fit dst.
struct Coded {
    std::size_t size;
    Lane lane;
};

// `lane` is what the elements are, plain or rotated; a sample decides whether another form takes less.
Coded encode(const std::uint8_t* src, std::size_t n, Lane lane, Level level, std::uint8_t* dst, std::size_t dst_cap,
             void* scratch) noexcept;

// Writes exactly raw_len bytes on Status::ok; otherwise dst's contents are unspecified, but nothing outside it is
// touched.
Status decode(const std::uint8_t* src, std::size_t src_len, Lane lane, std::uint8_t* dst, std::size_t raw_len,
              void* scratch) noexcept;

// Instruction sets. All give identical bytes. `best` is what this CPU has; forcing a path that it lacks returns false.
enum class Path : std::uint8_t { portable = 0, avx2 = 1, avx512 = 2, best = 255 };
bool force_path(Path path) noexcept;
Path current_path() noexcept;

}  // namespace dcpx
