#include "frames.hpp"

#include <cstring>

#include "chunks.hpp"
#include "float/bits.hpp"
#include "float/float_codec.hpp"
#include "frame_layout.hpp"
#include "hash/xxh3.hpp"

namespace dcpx {
using namespace frame_layout;
namespace {

bool equal(const u8* data, size_t size, std::string_view wanted) noexcept {
    return size == wanted.size() && std::memcmp(data, wanted.data(), size) == 0;
}

const u8* bytes(std::string_view text) noexcept { return reinterpret_cast<const u8*>(text.data()); }

struct Header {
    size_t size, chunk_size;
    u64 hash;
    u32 codecs = 0;
    bool hinted = false;
};

bool parse_codecs(const u8* ids, size_t count, u32 known, u32& codecs) noexcept {
    int last = -1;
    for (size_t i = 0; i < count; ++i) {
        if (ids[i] <= last || ids[i] >= 32 || !(known >> ids[i] & 1)) return false;
        last = ids[i];
        codecs |= u32{1} << ids[i];
    }
    return count != 0;
}

bool parse_field(u8 tag, const u8* value, size_t size, const FrameJob& job, Header& header) noexcept {
    switch (tag) {
        case field_key:
            return equal(value, size, job.key);
        case field_hint:
            header.hinted = equal(value, size, job.form->hint);
            return header.hinted;
        case field_checkpoint:
            return size == 16 && (job.checkpoint == nullptr || std::memcmp(value, job.checkpoint, 16) == 0);
        case field_codecs:
            return parse_codecs(value, size, job.codecs, header.codecs);
        default:
            return !(tag & critical);
    }
}

bool parse_header(const FrameJob& job, Header& header) noexcept {
    const u8* const data = job.frame;
    if (job.size < prefix_size || std::memcmp(data, magic, 8) != 0 || data[8] != major) return false;
    header.size = load_le(data + 12, 4);
    if (header.size < prefix_size + hash_size || header.size > max_header || header.size > job.size) return false;
    const u8* const end = data + header.size - hash_size;
    header.hash = xxh3(data, header.size - hash_size, 0);
    if (header.hash != load_le(end, 8) || (job.seal != nullptr && header.hash != *job.seal)) return false;
    if (load_le(data + 10, 2) != 0) return false;  // flags, of which this version knows none
    header.chunk_size = load_le(data + 16, 4);
    if (header.chunk_size < min_chunk || header.chunk_size > max_chunk) return false;
    int last = -1;
    for (const u8* at = data + prefix_size; at != end;) {
        if (end - at < 3) return false;
        const u8 tag = at[0];
        const size_t size = load_le(at + 1, 2);
        at += 3;
        if (tag <= last || size > static_cast<size_t>(end - at)) return false;
        if (!parse_field(tag, at, size, job, header)) return false;
        last = tag;
        at += size;
    }
    return header.hinted && header.codecs != 0;
}

struct Index {
    const u8* entries;
    size_t count;

    IndexEntry operator[](size_t number) const noexcept {
        const u8* const at = entries + number * entry_size;
        return {static_cast<size_t>(load_le(at, 4)), static_cast<size_t>(load_le(at + 4, 4)), load_le(at + 8, 8)};
    }
};

bool parse_final(const FrameJob& job, const Header& header, Index& index) noexcept {
    constexpr size_t smallest = final_size + footer_size;
    const size_t room = job.size - header.size;
    if (room < smallest) return false;
    const u8* const footer = job.frame + job.size - footer_size;
    const size_t size = load_le(footer, 4);
    if (std::memcmp(footer + 4, final_magic, 4) != 0 || size < smallest || (size - smallest) % entry_size != 0)
        return false;
    index.count = (size - smallest) / entry_size;
    if (size + index.count * (chunk_header_size + 1) > room) return false;
    const u8* const record = job.frame + job.size - size;
    if (xxh3(record, size - hash_size, header.hash) != load_le(footer + 8, 8)) return false;
    if (record[0] != kind_final || load_le(record + 1, 3) != 0 || load_le(record + 4, 4) != index.count) return false;
    index.entries = record + final_size;
    size_t stored = 0;
    u64 total = 0;
    Xxh3 digest;
    for (size_t i = 0; i < index.count; ++i) {
        const IndexEntry entry = index[i];
        if (entry.stored == 0 || entry.stored > entry.raw || entry.raw > header.chunk_size) return false;
        stored += chunk_header_size + entry.stored;
        total += entry.raw;
        digest.update(index.entries + i * entry_size + 4, 12);
    }
    u8 found[16];
    digest.digest(found);
    return total == load_le(record + 8, 8) && std::memcmp(found, record + 16, 16) == 0 && stored + size == room;
}

// Whether the chunk's own fields are these, those of its entry among them, and its tag is of them and the content.
bool is_sealed(const u8* record, u8 codec, unsigned parameter, size_t number, const IndexEntry& entry,
               const Header& header) noexcept {
    if (record[0] != kind_data || record[1] != codec || load_le(record + 2, 2) != parameter) return false;
    if (load_le(record + 4, 4) != number || load_le(record + 8, 4) != entry.stored) return false;
    if (load_le(record + 12, 4) != entry.raw) return false;
    return chunk_tag(record, entry.content, header.hash) == load_le(record + 16, 8);
}

// A part of the container, of which nothing but the arguments is stored.
bool is_part(const u8* record, unsigned parameter, std::string_view raw, u64 hash, size_t number,
             const IndexEntry& entry, const FrameJob& job, const Header& header) noexcept {
    return entry.raw == raw.size() && entry.content == hash &&
           is_sealed(record, codec_container, parameter, number, entry, header) &&
           equal(record + chunk_header_size, entry.stored, job.form->arguments);
}

bool unpack_whole(const FrameJob& job, const Header& header, const Index& index) noexcept {
    const FrameForm& form = *job.form;
    const IndexEntry entry = index[0];
    const u8* const record = job.frame + header.size;
    if (entry.raw != form.before.size() + form.nbytes + form.after.size()) return false;
    if (entry.stored != form.arguments.size() + form.nbytes) return false;
    if (!is_sealed(record, codec_container, whole, 0, entry, header)) return false;
    if (!equal(record + chunk_header_size, form.arguments.size(), form.arguments)) return false;
    const u8* const elements = record + chunk_header_size + form.arguments.size();
    Xxh3 content;
    content.update(form.before.data(), form.before.size());
    content.update(elements, form.nbytes);
    content.update(form.after.data(), form.after.size());
    if (content.digest64() != entry.content) return false;
    if (form.nbytes != 0) std::memcpy(job.out, elements, form.nbytes);
    return true;
}

bool unpack_parts(const FrameJob& job, const Header& header, const Index& index, void* scratch) noexcept {
    const FrameForm& form = *job.form;
    const size_t last = index.count - 1;
    const IndexEntry first = index[0], end = index[last];
    const u8* const begin = job.frame + header.size;
    if (!is_part(begin, before, form.before, form.before_hash, 0, first, job, header)) return false;
    const u8* const elements = begin + chunk_header_size + first.stored;
    const u8* record = elements;
    size_t raw = 0;
    for (size_t i = 1; i < last; ++i) {  // what can't be decoded here isn't begun
        const IndexEntry entry = index[i];
        if (entry.raw % form.width != 0 || (record[1] != codec_raw && record[1] != codec_float)) return false;
        raw += entry.raw;
        record += chunk_header_size + entry.stored;
    }
    if (raw != form.nbytes || !is_part(record, after, form.after, form.after_hash, last, end, job, header))
        return false;
    record = elements;
    u8* out = job.out;
    for (size_t i = 1; i < last; ++i) {
        const IndexEntry entry = index[i];
        const size_t size = chunk_header_size + entry.stored;
        const ChunkJob chunk{record,      size,          out,          entry.raw, static_cast<u32>(i),
                             header.hash, entry.content, header.codecs};
        if (!decode_chunk(chunk, scratch)) return false;
        record += size;
        out += entry.raw;
    }
    return true;
}

}  // namespace

FrameForm::FrameForm(std::string_view hint_, std::string_view arguments_, std::string_view before_,
                     std::string_view after_, size_t nbytes_, size_t width_)
    : hint(hint_),
      arguments(arguments_),
      before(before_),
      after(after_),
      nbytes(nbytes_),
      width(width_),
      before_hash(xxh3(bytes(before_), before_.size(), 0)),
      after_hash(xxh3(bytes(after_), after_.size(), 0)) {}

bool unpack_frame(const FrameJob& job, void* scratch) noexcept {
    Header header;
    Index index;
    if (!parse_header(job, header) || !(header.codecs >> codec_container & 1)) return false;
    if (!parse_final(job, header, index) || index.count == 0) return false;
    return index.count == 1 ? unpack_whole(job, header, index) : unpack_parts(job, header, index, scratch);
}

}  // namespace dcpx
