#include "chunks.hpp"

#include <cstring>

#include "float/bits.hpp"
#include "float/float_codec.hpp"
#include "hash/xxh3.hpp"

namespace dcpx {
namespace {

constexpr u8 kind_data = 1, codec_raw = 0, codec_float = 3;

bool decode_payload(u8 codec, unsigned parameter, const u8* payload, size_t stored, const ChunkJob& job,
                    void* scratch) noexcept {
    if (codec == codec_raw) {
        if (parameter != 0 || stored != job.raw) return false;
        std::memcpy(job.out, payload, stored);
        return true;
    }
    if (codec != codec_float) return false;
    const Lane lane = lane_of(parameter);
    return is_lane(lane) && decode(payload, stored, lane, job.out, job.raw, scratch) == Status::ok;
}

}  // namespace

bool decode_chunk(const ChunkJob& job, void* scratch) noexcept {
    if (job.record_size <= chunk_header_size || job.raw == 0 || job.raw > max_chunk) return false;
    u8 head[chunk_header_size];  // looked at once, here: what is checked is what is used
    std::memcpy(head, job.record, sizeof head);
    const size_t stored = job.record_size - chunk_header_size;
    if (head[0] != kind_data || load_le(head + 4, 4) != job.number || load_le(head + 8, 4) != stored ||
        stored > job.raw || load_le(head + 12, 4) != job.raw)
        return false;
    const u8 codec = head[1];
    if (codec >= 32 || !(job.codecs >> codec & 1)) return false;
    const unsigned parameter = static_cast<unsigned>(load_le(head + 2, 2));
    if (!decode_payload(codec, parameter, job.record + chunk_header_size, stored, job, scratch)) return false;
    if (xxh3(job.out, job.raw, 0) != job.content) return false;
    return chunk_tag(head, job.content, job.seed) == load_le(head + 16, 8);
}

u64 chunk_tag(const u8* head, u64 content, u64 seed) noexcept {
    u8 tagged[24];
    std::memcpy(tagged, head, 16);
    store_le(tagged + 16, content, 8);
    return xxh3(tagged, sizeof tagged, seed);
}

}  // namespace dcpx
