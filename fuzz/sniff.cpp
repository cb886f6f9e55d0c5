// Sampling reads nothing outside, says something valid, and the same wherever the buffer lies.
#include "sniff.hpp"

#include "harness.hpp"

using namespace fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    Bytes control = in.take(10);
    control.resize(10);
    Input head(control.data(), control.size());
    const unsigned flags = head.byte();
    const size_t offset = head.byte() % 64, extra = head.number(2);
    const Bytes seed = in.rest();
    Bytes raw = grow(head, seed, 1u << (flags & 3), 20000);
    if (flags >> 4 == 15 && !raw.empty()) {  // rare, as it is slow: long enough for several samples
        const size_t once = raw.size(), whole = (size_t{1} << 19) * (1 + (flags >> 2 & 3) * 3) + extra;
        raw.resize(whole);
        for (size_t i = once; i < whole; ++i) raw[i] = raw[i - once];
    }
    const Box here(raw, offset), there(raw, offset / 2);
    const Lane lane = dcpx::sniff_lane(here.data(), raw.size());
    require(dcpx::is_lane(lane), "sniff_lane gives a lane");
    if (raw.size() < 1024) require(lane.width == 1, "too little to tell");
    const Lane again = dcpx::sniff_lane(there.data(), raw.size());
    require(lane.width == again.width && lane.form == again.form, "alignment changes nothing");
    const unsigned share = dcpx::repeats(here.data(), raw.size());
    require(share <= 1024, "repeats is a share of 1024");
    require(share == dcpx::repeats(there.data(), raw.size()), "alignment changes nothing");
    const dcpx::Pieces pieces(raw.size());
    size_t end = 0;
    for (size_t p = 0; p < pieces.count(); ++p) {
        const auto [start, length] = pieces[p];
        require(start >= end && start + length <= raw.size(), "pieces follow one another inside the buffer");
        end = start + length;
    }
    return 0;
}
