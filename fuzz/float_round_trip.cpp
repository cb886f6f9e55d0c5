// Whatever is encoded decodes to itself, on every path; coded bytes with a few changes never do harm.
#include "harness.hpp"

using namespace fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const Lane given = lanes[in.byte() % lane_count];
    const size_t offset = in.byte() % 64;
    struct Change {
        size_t at;
        uint8_t value;
    } changes[3];
    const unsigned change_count = in.byte() % 4;
    for (Change& c : changes) c = {size_t(in.number(2)), in.byte()};
    Bytes control = in.take(6);
    control.resize(6);
    Input growth(control.data(), control.size());
    const Bytes raw = grow(growth, in.rest(), given.width, 40000);
    for (const Level level : {Level::fast, Level::small}) {
        Lane lane = given;
        Bytes coded = encode_everywhere(raw, lane, level, offset), out;
        if (coded.empty()) continue;
        require(decode_everywhere(coded, lane, raw.size(), offset, out) == Status::ok, "what was encoded decodes");
        require(out == raw, "what was encoded decodes to itself");
        if (change_count == 0) continue;
        for (unsigned i = 0; i < change_count; ++i) {
            // half the changes near the front, where the heads lie
            const size_t span = changes[i].at & 1 ? std::min<size_t>(coded.size(), 200) : coded.size();
            coded[(changes[i].at >> 1) % span] = changes[i].value;
        }
        decode_everywhere(coded, lane, raw.size(), offset, out);
    }
    return 0;
}
