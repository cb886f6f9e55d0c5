// Whole frames of tensors, as dcpx writes them: spec/format.md, sections 3 to 5, for the frames that need no Python.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dcpx {

// What the frames of all tensors of one dtype and shape have in common, as bytes that are stored.
struct FrameForm {
    std::string hint;           // the value of field 02
    std::string arguments;      // of codec 4
    std::string before, after;  // the container around the elements
    std::size_t nbytes;         // of the elements
    std::size_t width;          // of one element

    std::uint64_t before_hash, after_hash;

    FrameForm(std::string_view hint, std::string_view arguments, std::string_view before, std::string_view after,
              std::size_t nbytes, std::size_t width);
};

struct FrameJob {
    const std::uint8_t* frame;
    std::size_t size;
    const FrameForm* form;           // of the tensor that is asked for
    std::string_view key;            // the value that field 01 has, if it is there
    const std::uint8_t* checkpoint;  // and field 03, 16 bytes; null where that isn't known
    const std::uint64_t* seal;       // the header hash; null where that isn't known
    std::uint32_t codecs;            // bit k: a frame's header may name codec k
    std::uint8_t* out;               // where the elements go, form->nbytes bytes
};

// Whether these bytes are a frame of the tensor that is asked for, with dcpx's own container and with elements of codec
// raw or float, every check of the format holds, and the elements were decoded to `out`. If not, nothing is said of the
// reason, and out's content is unspecified. The frame's bytes must not change. `scratch` has decode_scratch bytes.
bool unpack_frame(const FrameJob& job, void* scratch) noexcept;

// What a header holds. The values of fields 01 to 03 aren't there where they are without data.
struct HeaderFields {
    std::size_t chunk_size;
    std::string_view codecs, key, hint, checkpoint;
};

struct IndexEntry {
    std::size_t stored, raw;
    std::uint64_t content;
};

// Makes all of one frame but the chunks' payloads, which come one after another.
class FrameMaker {
  public:
    // std::length_error where the fields are more than a header may hold.
    explicit FrameMaker(const HeaderFields& fields);

    const std::string& head() const { return head_; }
    std::uint64_t hash() const { return hash_; }
    // The header of the next chunk, 24 bytes.
    std::string chunk(std::uint8_t codec, unsigned parameter, const IndexEntry& entry);
    // The final record of a frame with the chunks so far.
    std::string tail() const;

  private:
    std::string head_;
    std::uint64_t hash_;
    std::vector<IndexEntry> entries_;
};

// Appends the frame of a tensor that shares its only chunk with the container. The elements are looked at once.
void pack_whole(FrameMaker& maker, const FrameForm& form, const std::uint8_t* elements, std::string& out);

}  // namespace dcpx
