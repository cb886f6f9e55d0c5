// A valid chunk is taken apart, its parts are forged at their places and it is put together again: this passes the
// checks that stop blind bytes, and so reaches what lies behind them.
#include <array>

#include "float/layout.hpp"
#include "harness.hpp"

using namespace fuzz;

namespace {

struct Plane {
    uint8_t method = dcpx::raw_plane;
    Bytes table;  // or the constant
    std::array<size_t, dcpx::streams> size{};
    size_t patch_count = 0;
    Bytes raw;
    std::array<Bytes, dcpx::streams> stream;
    Bytes patches;
};

struct Chunk {
    Bytes palette;  // its count and values
    std::vector<Plane> planes;
    Bytes tail;
};

size_t table_size(const Plane& q, Input in) {
    if (q.method == dcpx::constant_plane) return 1;
    in.byte();
    const size_t count = in.byte() + 1u;
    if (q.method == dcpx::prefix_plane) return 2 + (count + 1) / 2;
    size_t size = 2;
    for (size_t i = 0; i < count; ++i) size += in.byte() & 128 ? (in.byte(), 2) : 1;
    return size;
}

Chunk parse(const Bytes& coded, Lane lane, size_t raw_size) {
    Input in(coded.data(), coded.size());
    Chunk c;
    c.planes.resize(dcpx::planes_of(lane));
    if (lane.form == Form::palette) c.palette = in.take(1 + (coded[0] + 1u) * lane.width);
    const size_t n = raw_size / lane.width;
    for (Plane& q : c.planes) q.method = in.byte();
    for (Plane& q : c.planes) {
        if (q.method == dcpx::raw_plane) continue;
        q.table = in.take(table_size(q, in));
        if (q.method != dcpx::constant_plane)
            for (size_t& s : q.size) s = in.number(dcpx::size_bytes);
        q.patch_count = in.number(dcpx::count_bytes);
    }
    for (Plane& q : c.planes)
        if (q.method == dcpx::raw_plane) q.raw = in.take(n);
    for (Plane& q : c.planes)
        for (size_t k = 0; k < dcpx::streams; ++k) q.stream[k] = in.take(q.size[k]);
    for (Plane& q : c.planes) q.patches = in.take(q.patch_count * dcpx::patch_bytes);
    c.tail = in.rest();
    return c;
}

void put(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }
void put(Bytes& out, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) out.push_back(uint8_t(value >> (8 * i)));
}

Bytes build(const Chunk& c) {
    Bytes out = c.palette;
    for (const Plane& q : c.planes) out.push_back(q.method);
    for (const Plane& q : c.planes) {
        if (q.method == dcpx::raw_plane) continue;
        put(out, q.table);
        if (q.method != dcpx::constant_plane)
            for (const size_t s : q.size) put(out, s, dcpx::size_bytes);
        put(out, q.patch_count, dcpx::count_bytes);
    }
    for (const Plane& q : c.planes) put(out, q.raw);
    for (const Plane& q : c.planes)
        for (const Bytes& s : q.stream) put(out, s);
    for (const Plane& q : c.planes) put(out, q.patches);
    put(out, c.tail);
    return out;
}

// Lengths of a full code: one symbol splits into two of a bit more, as often as the input says.
Bytes any_lengths(Input& in) {
    std::vector<uint8_t> length{1, 1};
    for (size_t splits = in.byte(); splits > 0 && length.size() < 256; --splits) {
        const size_t i = in.below(length.size());
        if (length[i] == dcpx::prefix_bits) continue;
        const uint8_t longer = ++length[i];
        length.insert(length.begin() + long(i), longer);
    }
    const size_t lo = in.below(257 - length.size());
    Bytes table{uint8_t(lo), uint8_t(length.size() - 1)};
    for (size_t i = 0; i < length.size(); i += 2)
        table.push_back(uint8_t(length[i] | (i + 1 < length.size() ? length[i + 1] << 4 : 0)));
    return table;
}

Bytes any_frequencies(Input& in) {
    std::vector<unsigned> share;
    unsigned left = dcpx::tans_size;
    const size_t count = in.byte() + 1u;
    while (left > 0 && share.size() + 1 < count) {
        unsigned v = unsigned(in.number(2)) >> (in.byte() & 15);
        if (share.empty() && v == 0) v = 1;
        v = std::min(v, left);
        share.push_back(v);
        left -= v;
    }
    if (left > 0) share.push_back(left);
    while (share.back() == 0) share.pop_back();
    Bytes table{uint8_t(in.below(257 - share.size())), uint8_t(share.size() - 1)};
    for (const unsigned v : share) {
        if (v >= 128) table.push_back(uint8_t(v | 128));
        table.push_back(uint8_t(v >= 128 ? v >> 7 : v));
    }
    return table;
}

// A plane of the other method: its streams' bytes now mean something else.
void change_method(Plane& q, Input& in, size_t n) {
    q.method = in.byte() % 4;
    q.table.clear();
    q.size = {};
    q.stream = {};
    q.raw.clear();
    q.patches.clear();
    q.patch_count = 0;
    if (q.method == dcpx::raw_plane) {
        q.raw.assign(n, in.byte());
    } else if (q.method == dcpx::constant_plane) {
        q.table.push_back(in.byte());
    } else {
        q.table = q.method == dcpx::prefix_plane ? any_lengths(in) : any_frequencies(in);
        const dcpx::Blocks blocks(n);
        Random random(in.byte());
        for (unsigned k = 0; k < dcpx::streams; ++k) {
            if (blocks.count(0, k) == 0) continue;
            Bytes& s = q.stream[k];
            s.resize(2 + in.below(300));
            for (uint8_t& b : s) b = random() & 3 ? uint8_t(random()) : 0;
            if (q.method == dcpx::tans_plane) s[0] |= 1;
            q.size[k] = s.size();
        }
    }
}

void forge(Chunk& c, Input& in, size_t n) {
    const unsigned what = in.byte();
    Plane& q = c.planes[in.below(c.planes.size())];
    const size_t k = in.byte() % dcpx::streams;
    Bytes& s = q.stream[k];
    switch (what % 18) {
        case 0:
            q.method = in.byte() % 6;
            break;
        case 1:  // any byte of a table
            if (!q.table.empty()) q.table[in.below(q.table.size())] = in.byte();
            break;
        case 2:  // two entries change places: still a full code
            if (q.table.size() > 3) std::swap(q.table[2 + in.below(q.table.size() - 2)], q.table[2]);
            break;
        case 3:  // the symbols move
            if (!q.table.empty()) q.table[0] = in.byte();
            break;
        case 4:  // another full code over the same streams
            if (q.method == dcpx::prefix_plane) q.table = any_lengths(in);
            if (q.method == dcpx::tans_plane) q.table = any_frequencies(in);
            break;
        case 5:
            q.size[k] = in.number(3);
            break;
        case 6: {  // bytes move between neighbours: the sum of the sizes stays
            const size_t next = (k + 1) % dcpx::streams, step = std::min<size_t>(in.byte() % 20, q.size[k]);
            q.size[k] -= step;
            q.size[next] += step;
            break;
        }
        case 7:  // a longer or shorter stream with its right size
            s.resize(in.below(s.size() + 40), uint8_t(what));
            q.size[k] = s.size();
            break;
        case 8:
            if (!s.empty()) s[in.below(s.size())] = in.byte();
            break;
        case 9:  // the last bytes hold the padding of prefix streams, and the ends of both
            if (!s.empty()) s[s.size() - 1 - in.below(std::min<size_t>(s.size(), 9))] ^= in.byte();
            break;
        case 10:  // tANS: start marker and first state
            if (!s.empty()) s[in.below(std::min<size_t>(s.size(), 3))] = in.byte();
            break;
        case 11:
            s = in.take(in.byte());
            q.size[k] = s.size();
            break;
        case 12:
            q.patch_count = in.byte() & 1 ? in.number(4) : n + in.byte() - 128;
            break;
        case 13:  // a patch more, at any place and in any order, with its count
            if (q.method != dcpx::raw_plane) {
                const unsigned where = in.byte();
                const size_t at = where & 1 ? in.number(3) : n - std::min<size_t>(n, where >> 6);
                const size_t before = q.patches.size() / 4 ? in.below(q.patches.size() / 4 + 1) * 4 : 0;
                Bytes patch;
                put(patch, at | uint64_t{in.byte()} << 24, 4);
                q.patches.insert(q.patches.begin() + long(before), patch.begin(), patch.end());
                ++q.patch_count;
            }
            break;
        case 14:
            if (!q.patches.empty()) q.patches[in.below(q.patches.size())] = in.byte();
            break;
        case 15:  // many ascending patches
            if (q.method != dcpx::raw_plane) {
                q.patches.clear();
                const size_t step = 1 + in.byte(), most = in.byte();
                q.patch_count = 0;
                for (size_t at = in.byte(); q.patch_count < most; at += step, ++q.patch_count)
                    put(q.patches, at | uint64_t{in.byte()} << 24, 4);
            }
            break;
        case 16:
            change_method(q, in, n);
            break;
        default:
            c.tail.resize(in.below(10), uint8_t(what));
            break;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const Lane given = lanes[in.byte() % lane_count];
    Lane lane = given;
    const unsigned flags = in.byte();
    const Level level = flags & 1 ? Level::small : Level::fast;
    const size_t offset = in.byte() % 64, seed_size = in.byte();
    Bytes control = in.take(6);
    control.resize(6);
    Input growth(control.data(), control.size());
    Bytes raw = grow(growth, in.take(seed_size), lane.width, 60000);
    dcpx::force_path(paths()[flags >> 1 & 1 ? paths().size() - 1 : 0]);
    Bytes coded = encode(raw, lane, level, raw.size(), offset);
    if (coded.empty()) {  // zeros always get smaller, and the forging below fills them with something else
        raw.assign(64 * given.width + raw.size(), 0);
        lane = given;
        coded = encode(raw, lane, level, raw.size(), offset);
        require(!coded.empty(), "zeros get smaller");
    }
    const Chunk parsed = parse(coded, lane, raw.size());
    require(build(parsed) == coded, "the parts make up the chunk");
    Chunk chunk = parsed;
    for (unsigned count = 1 + (flags >> 2 & 7); count > 0 && in.left() > 0; --count)
        forge(chunk, in, raw.size() / lane.width);
    coded = build(chunk);
    size_t raw_size = raw.size();
    if (flags >> 5 == 7) raw_size += in.below(1000);
    if (flags >> 5 == 6) coded.resize(in.below(coded.size() + 3));
    Bytes out;
    decode_everywhere(coded, lane, raw_size, offset, out);
    return 0;
}
