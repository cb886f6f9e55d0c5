// A chunk's record of any bytes: decoded in whole or refused, and no byte outside its target touched. A record whose
// checksums are made to fit gets as far as its payload.
#include "chunks.hpp"

#include "harness.hpp"
#include "hash/xxh3.hpp"

using namespace fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const bool fitting = in.byte() & 1;
    const size_t offset = in.byte() % 64, raw_size = in.number(2) % 5000;
    const uint64_t seed = in.byte();
    Bytes record = in.rest();
    Box out(raw_size, offset);
    static Box scratch(dcpx::decode_scratch, 0);
    const auto run = [&](uint32_t number, uint64_t content, uint32_t codecs = 0b1001) {
        scratch.lift();
        const Box stored(record, offset * 7 % 64);
        return dcpx::decode_chunk({stored.data(), record.size(), out.data(), raw_size, number, seed, content, codecs},
                                  scratch.data());
    };
    const bool long_enough = record.size() > dcpx::chunk_header_size;
    if (!fitting || !long_enough) {
        require(!run(0, 0) || raw_size > 0, "nothing decodes to nothing");
        return 0;
    }
    // The sizes and the kind fit; what the payload decodes to, if it does, is hashed and sealed.
    record[0] = 1;
    for (unsigned i = 0; i < 4; ++i) {
        record[4 + i] = 0;
        record[8 + i] = uint8_t((record.size() - dcpx::chunk_header_size) >> (8 * i));
        record[12 + i] = uint8_t(raw_size >> (8 * i));
    }
    run(0, 0);  // leaves in `out` what the payload decodes to, if it does
    const uint64_t content = dcpx::xxh3(out.data(), raw_size, 0);
    Bytes tagged(record.begin(), record.begin() + 16);
    for (unsigned i = 0; i < 8; ++i) tagged.push_back(uint8_t(content >> (8 * i)));
    const uint64_t tag = dcpx::xxh3(tagged.data(), tagged.size(), seed);
    for (unsigned i = 0; i < 8; ++i) record[16 + i] = uint8_t(tag >> (8 * i));
    if (run(0, content)) {
        require(dcpx::xxh3(out.data(), raw_size, 0) == content, "what is released has the hash that was asked for");
        require(!run(1, content), "another number's tag");
        require(!run(0, content, 0b1001 & ~(1u << record[1])), "a codec that the frame's header doesn't name");
    }
    return 0;
}
