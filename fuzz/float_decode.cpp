// Any bytes, any lane, any length: a status, the same on every path, and no byte touched outside.
#include "harness.hpp"

using namespace fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    static constexpr Lane no_lanes[] = {{0, Form::plain},        {1, Form::rotated}, {3, Form::plain},
                                        {16, Form::rotated},     {4, Form::bits},    {1, Form::palette},
                                        {1u << 31, Form::plain}, {8, Form(6)}};
    const size_t choice = in.byte();
    const Lane lane = choice < 248 ? lanes[choice % form_count] : no_lanes[choice % 8];
    const size_t offset = in.byte() % 64;
    const unsigned large = in.byte();
    size_t raw_size = in.number(3);
    if (large == 0xff)
        raw_size = raw_size % 32 == 0 ? dcpx::max_chunk + 1 : dcpx::max_chunk - raw_size % 4096;  // rare: slow
    else
        raw_size = raw_size % 200001 >> (large & 15);
    Bytes out;
    const Status status = decode_everywhere(in.rest(), lane, raw_size, offset, out);
    if (!dcpx::is_lane(lane) || raw_size > dcpx::max_chunk) require(status == Status::bad_argument, "refused lane");
    return 0;
}
