// A tensor's frame as dcpx makes it, and changed, with or without hashes that are made to fit: unpacked to its very
// elements or refused, and no byte outside of its memory touched.
#include "frames.hpp"

#include "chunks.hpp"
#include "frame_layout.hpp"
#include "harness.hpp"
#include "hash/xxh3.hpp"

using namespace fuzz;
using namespace dcpx::frame_layout;

namespace {

std::string text(const Bytes& bytes) { return std::string(bytes.begin(), bytes.end()); }

Bytes made(const dcpx::FrameForm& form, const dcpx::HeaderFields& fields, const Bytes& elements, size_t step) {
    dcpx::FrameMaker maker(fields);
    std::string out;
    if (step == 0) {
        dcpx::pack_whole(maker, form, elements.data(), out);
        return Bytes(out.begin(), out.end());
    }
    const auto part = [&](unsigned parameter, const std::string& raw, uint64_t hash) {
        out += maker.chunk(codec_container, parameter, {form.arguments.size(), raw.size(), hash}) + form.arguments;
    };
    out = maker.head();
    part(before, form.before, form.before_hash);
    for (size_t begin = 0; begin < elements.size(); begin += step) {
        const size_t size = std::min(step, elements.size() - begin);
        const Bytes raw(elements.begin() + long(begin), elements.begin() + long(begin + size));
        dcpx::Lane lane{2, dcpx::Form::rotated};  // or another form, where that promises more
        const Bytes coded = encode(raw, lane, Level::fast, size, 0);
        const Bytes& stored = coded.empty() ? raw : coded;
        const uint64_t hash = dcpx::xxh3(raw.data(), size, 0);
        const unsigned parameter = coded.empty() ? 0 : dcpx::parameter_of(lane);
        out += maker.chunk(coded.empty() ? codec_raw : codec_float, parameter, {stored.size(), size, hash});
        out += text(stored);
    }
    part(after, form.after, form.after_hash);
    out += maker.tail();
    return Bytes(out.begin(), out.end());
}

void put(uint8_t* at, uint64_t value) {
    for (unsigned i = 0; i < 8; ++i) at[i] = uint8_t(value >> (8 * i));
}

// The header's hash and the final record's, each where the frame's own sizes say that it lies. The tags stay.
void seal(Bytes& frame) {
    if (frame.size() < prefix_size) return;
    const size_t head = dcpx::load_le(&frame[12], 4);
    if (head < prefix_size + hash_size || head > frame.size()) return;
    const uint64_t seed = dcpx::xxh3(frame.data(), head - hash_size, 0);
    put(&frame[head - hash_size], seed);
    if (frame.size() < head + footer_size) return;
    const size_t size = dcpx::load_le(&frame[frame.size() - footer_size], 4);
    if (size < footer_size || size > frame.size()) return;
    put(&frame[frame.size() - hash_size], dcpx::xxh3(&frame[frame.size() - size], size - hash_size, seed));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const unsigned how = in.byte();
    const size_t step = how & 1 ? 2 * (1 + in.below(600)) : 0;
    const Bytes key = in.take(1 + in.below(4)), save(16, 7);
    const Bytes elements = grow(in, in.take(in.below(40)), 2, 2000);
    const size_t nbytes = elements.size() / 2 * 2;
    const dcpx::FrameForm form("hint", "ab", "before the elements", "after them", nbytes, 2);
    const std::string name = text(key), id = text(save), codecs{0, 3, 4};
    const dcpx::HeaderFields fields{4096, codecs, how & 2 ? std::string_view(name) : std::string_view(), form.hint,
                                    how & 4 ? std::string_view(id) : std::string_view()};
    const Bytes raw(elements.begin(), elements.begin() + long(nbytes));
    const Bytes honest = made(form, fields, raw, step);
    const uint64_t hash = dcpx::FrameMaker(fields).hash(), other = hash + 1;
    static Box scratch(dcpx::decode_scratch, 0);
    Box out(nbytes, how >> 3 & 7);
    const auto run = [&](const Bytes& frame, const uint64_t* sealed, std::string_view wanted) {
        const Box stored(frame, in.left() % 64);
        scratch.lift();
        return dcpx::unpack_frame(
            {stored.data(), frame.size(), &form, wanted, save.data(), sealed, 0b11111, out.data()}, scratch.data());
    };
    out.fill(0x5a);
    require(run(honest, &hash, name), "what was made is unpacked");
    require(std::equal(raw.begin(), raw.end(), out.data()), "to its elements");
    require(!run(honest, &other, name), "another header's hash");
    require(!(how & 2) || !run(honest, nullptr, name + "x"), "another item");
    Bytes changed = honest;
    for (unsigned changes = 1 + in.below(4); changes-- > 0 && !changed.empty();) {
        const size_t at = in.number(2) % changed.size();
        switch (in.byte() % 4) {
            case 0:
                changed.resize(at);
                break;
            case 1:
                changed.insert(changed.begin() + long(at), in.byte());
                break;
            default:
                changed[at] = in.byte();
        }
    }
    for (const bool sealed : {false, true}) {
        if (sealed) seal(changed);
        out.fill(0xa5);
        require(!run(changed, nullptr, name) || std::equal(raw.begin(), raw.end(), out.data()), "changed elements");
    }
    return 0;
}
