// Splitting puts every byte where planes.hpp says, merging is its inverse, and neither touches a byte outside.
#include "planes.hpp"

#include "harness.hpp"

using namespace fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    Bytes control = in.take(8);
    control.resize(8);
    Input head(control.data(), control.size());
    const size_t width = size_t{2} << head.byte() % 3, offset = head.byte() % 64;
    Bytes raw = grow(head, in.rest(), unsigned(width), 100000);
    raw.resize(raw.size() / width * width);
    const size_t n = raw.size() / width;
    const Box src(raw, offset);
    Box planes(raw.size(), offset * 3 % 64), back(raw.size(), offset * 5 % 64);
    planes.fill(0x5a);
    back.fill(0xa5);
    dcpx::split_planes(src.data(), planes.data(), n, width);
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < width; ++j)
            require(planes.data()[j * n + i] == raw[i * width + j], "byte j of lane i lies in plane j at i");
    dcpx::merge_planes(planes.data(), back.data(), n, width);
    require(std::equal(raw.begin(), raw.end(), back.data()), "merging undoes splitting");
    require(std::equal(raw.begin(), raw.end(), src.data()), "the source stays");
    return 0;
}
