#include <stdexcept>

#include "chunks.hpp"
#include "float/bits.hpp"
#include "frame_layout.hpp"
#include "frames.hpp"
#include "hash/xxh3.hpp"

namespace dcpx {
using namespace frame_layout;
namespace {

u8* bytes(std::string& text) { return reinterpret_cast<u8*>(text.data()); }

void append(std::string& out, u64 value, unsigned size) {
    u8 little[8];
    store_le(little, value, size);
    out.append(reinterpret_cast<const char*>(little), size);
}

void append_field(std::string& out, u8 tag, std::string_view value) {
    if (value.data() == nullptr) return;
    if (value.size() > 0xffff) throw std::length_error("a header's field is too long");
    append(out, tag, 1);
    append(out, value.size(), 2);
    out.append(value);
}

}  // namespace

FrameMaker::FrameMaker(const HeaderFields& fields) {
    head_.reserve(prefix_size + fields.codecs.size() + fields.key.size() + fields.hint.size() +
                  fields.checkpoint.size() + 12 + hash_size);
    head_.append(magic, 8);
    append(head_, major, 4);  // and no minor version, no flags
    append(head_, 0, 4);      // the size
    append(head_, fields.chunk_size, 4);
    append_field(head_, field_key, fields.key);
    append_field(head_, field_hint, fields.hint);
    append_field(head_, field_checkpoint, fields.checkpoint);
    append_field(head_, field_codecs, fields.codecs);
    const size_t size = head_.size() + hash_size;
    if (size > max_header) throw std::length_error("a header is too long");
    store_le(bytes(head_) + 12, size, 4);
    hash_ = xxh3(bytes(head_), head_.size(), 0);
    append(head_, hash_, hash_size);
}

std::string FrameMaker::chunk(u8 codec, unsigned parameter, const IndexEntry& entry) {
    std::string head;
    head.reserve(chunk_header_size);
    append(head, kind_data, 1);
    append(head, codec, 1);
    append(head, parameter, 2);
    append(head, entries_.size(), 4);
    append(head, entry.stored, 4);
    append(head, entry.raw, 4);
    append(head, chunk_tag(bytes(head), entry.content, hash_), hash_size);
    entries_.push_back(entry);
    return head;
}

std::string FrameMaker::tail() const {
    std::string record;
    record.reserve(final_size + entries_.size() * entry_size + footer_size);
    u64 total = 0;
    for (const IndexEntry& entry : entries_) total += entry.raw;
    append(record, kind_final, 4);
    append(record, entries_.size(), 4);
    append(record, total, 8);
    record.resize(final_size);  // the digest is to come
    Xxh3 digest;
    for (const IndexEntry& entry : entries_) {
        append(record, entry.stored, 4);
        append(record, entry.raw, 4);
        append(record, entry.content, 8);
        digest.update(record.data() + record.size() - 12, 12);
    }
    digest.digest(bytes(record) + final_size - 16);
    append(record, record.size() + footer_size, 4);
    record.append(final_magic, 4);
    append(record, xxh3(bytes(record), record.size(), hash_), hash_size);
    return record;
}

void pack_whole(FrameMaker& maker, const FrameForm& form, const u8* elements, std::string& out) {
    out += maker.head();
    const size_t at = out.size() + chunk_header_size;
    out.resize(at);
    out += form.arguments;
    if (form.nbytes != 0) out.append(reinterpret_cast<const char*>(elements), form.nbytes);
    Xxh3 content;
    content.update(form.before.data(), form.before.size());
    content.update(out.data() + out.size() - form.nbytes, form.nbytes);
    content.update(form.after.data(), form.after.size());
    const size_t raw = form.before.size() + form.nbytes + form.after.size();
    const std::string head = maker.chunk(codec_container, whole, {out.size() - at, raw, content.digest64()});
    out.replace(at - chunk_header_size, chunk_header_size, head);
    out += maker.tail();
}

}  // namespace dcpx
