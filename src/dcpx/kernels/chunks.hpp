// Whole chunks of a frame: decoding and every check of spec/format.md, section 4, for the codecs that need no Python.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dcpx {

inline constexpr std::size_t chunk_header_size = 24;

struct ChunkJob {
    const std::uint8_t* record;  // the chunk's header and payload
    std::size_t record_size;
    std::uint8_t* out;  // where its content goes, `raw` bytes
    std::size_t raw;
    std::uint32_t number;
    std::uint64_t seed;     // the frame's header hash
    std::uint64_t content;  // the content's hash, as the index has it
    std::uint32_t codecs;   // bit k: the frame's header names codec k
};

// Whether the chunk is of codec raw or float, was decoded to `out`, and all its checksums hold. If not, nothing is said
// of the reason, and out's content is unspecified. `scratch` has decode_scratch bytes.
bool decode_chunk(const ChunkJob& job, void* scratch) noexcept;

// The tag of a chunk whose header begins with these 16 bytes.
std::uint64_t chunk_tag(const std::uint8_t* head, std::uint64_t content, std::uint64_t seed) noexcept;

}  // namespace dcpx
