// Decoding: believe nothing in the chunk before it is checked, then decode and merge window by window. The chunk may
// lie in memory that another thread writes to: what decides where to read or write is loaded once. All else becomes
// symbols.
#include <algorithm>

#include "layout.hpp"
#include "tables.hpp"

namespace dcpx {
namespace {

struct Plane {
    Method method;
    const u8* raw;
    u8* window;  // coded: decoded blocks, `stride` apart; constant: one block that serves for all
    PrefixDecoder* prefix;
    TansDecoder* tans;
    size_t size[streams];
    size_t patch_count;
    const u8* patches;
    u8 value;           // constant
    size_t patches_at;  // how many patches are done
    u64 patch_lane;     // of the next one; none is left where it is no lane
    u8 patch_value;
    Reader reader[streams];
};

struct Decoder {
    const u8* at;
    const u8* end;
    u8* dst;
    size_t lanes;
    Lane lane;
    unsigned planes;
    unsigned values;   // palette: how many
    u64 palette[256];  // and which
    Blocks blocks;
    Arena arena;
    void* temp;
    Plane plane[8];
    const Kernels& kernel;  // one for the whole chunk: streaming stores and their fence belong together

    Decoder(const u8* s, size_t size, Lane l, u8* d, size_t raw, void* scratch)
        : at(s),
          end(s + size),
          dst(d),
          lanes(raw / l.width),
          lane(l),
          planes(planes_of(l)),
          values(0),
          blocks(lanes),
          arena(scratch),
          temp(arena.take<u8>(prefix_temp)),
          kernel(kernels()) {}

    size_t left() const { return size_t(end - at); }
    Status run(size_t tail);
    Status read_palette();
    Status read_head(Plane& q);
    Status start_stream(Plane& q, unsigned k);
    Status place();
    bool decode_window(Plane& q, size_t w, Ahead& ahead);
    Status merge_window(size_t w, u64& before);
    bool expand(u8* out, const u8* numbers, size_t count) const;
    bool next_patch(Plane& q);
    bool patch(Plane& q, u8* block, size_t first, size_t count);
};

Status Decoder::read_palette() {
    if (left() < 1) return Status::truncated;
    values = unsigned(load_once(at++, 1)) + 1;
    if (left() < values * lane.width) return Status::truncated;
    for (unsigned i = 0; i < values; ++i, at += lane.width) palette[i] = load_once(at, lane.width);
    std::fill(palette + values, palette + 256, 0);  // for numbers that are refused once their block is done
    return Status::ok;
}

template <unsigned W>
static bool expand_as(u8* out, const u8* numbers, size_t count, const u64* palette, unsigned values) {
    unsigned most = 0;
    for (size_t i = 0; i < count; ++i) {
        const unsigned number = numbers[i];
        most = std::max(most, number);
        store_lane<W>(out + i * W, palette[number]);
    }
    return most < values;
}
bool Decoder::expand(u8* out, const u8* numbers, size_t count) const {
    return lane.width == 2   ? expand_as<2>(out, numbers, count, palette, values)
           : lane.width == 4 ? expand_as<4>(out, numbers, count, palette, values)
                             : expand_as<8>(out, numbers, count, palette, values);
}

Status Decoder::read_head(Plane& q) {
    if (q.method == raw_plane) return Status::ok;
    if (q.method == constant_plane) {
        if (left() < 1 + count_bytes) return Status::truncated;
        q.window = arena.take<u8>(max_block);
        q.value = u8(load_once(at++, 1));
        std::memset(q.window, q.value, max_block);
    } else {
        q.window = arena.take<u8>(window_bytes);
        u8 table[max_table];
        const size_t size = std::min(left(), sizeof table);
        std::memcpy(table, at, size);
        __asm__("" : : "r"(table) : "memory");  // a copy, and no other name for the chunk
        size_t used;
        if (q.method == prefix_plane) {
            Alphabet a;
            used = read_lengths(table, size, a);
            q.prefix = arena.take<PrefixDecoder>();
            if (!used || !prefix_decoder(a, *q.prefix, temp)) return Status::bad_table;
        } else {
            Frequencies f;
            used = read_frequencies(table, size, f);
            q.tans = arena.take<TansDecoder>();
            if (!used || !tans_decoder(f, *q.tans)) return Status::bad_table;
        }
        at += used;
        if (left() < streams * size_bytes + count_bytes) return Status::truncated;
        for (unsigned k = 0; k < streams; ++k, at += size_bytes) q.size[k] = load_once(at, size_bytes);
    }
    q.patch_count = load_once(at, count_bytes);
    at += count_bytes;
    return q.patch_count > lanes ? Status::bad_patch : Status::ok;
}

Status Decoder::start_stream(Plane& q, unsigned k) {
    Reader& r = q.reader[k];
    const bool empty = blocks.count(0, k) == 0;
    if (empty != (q.size[k] == 0)) return Status::bad_stream;
    r = {at, at + q.size[k], u64{1} << 63, nullptr, 0};
    at += q.size[k];
    if (q.method == prefix_plane || empty) return Status::ok;
    // zeros up to a 1 in the first byte, then the state
    if (q.size[k] < 2) return Status::bad_stream;
    const u64 head = load_once(r.p, unsigned(std::min<size_t>(q.size[k], 8)));
    if (u8(head) == 0) return Status::bad_stream;
    const unsigned skip = unsigned(std::countr_zero(head)) + 1;
    if (q.size[k] * 8 < skip + tans_bits) return Status::bad_stream;
    const u64 bits = (head | u64{1} << 63) >> skip;
    r.state = bits & (tans_size - 1);
    r.bits = bits >> tans_bits;
    return Status::ok;
}

// Finds raw planes, streams and patches behind the heads; every byte must be accounted for.
Status Decoder::place() {
    for (unsigned p = 0; p < planes; ++p)
        if (plane[p].method == raw_plane) {
            if (left() < lanes) return Status::truncated;
            plane[p].raw = at;
            at += lanes;
        }
    for (unsigned p = 0; p < planes; ++p)
        if (plane[p].method >= prefix_plane)
            for (unsigned k = 0; k < streams; ++k) {
                if (left() < plane[p].size[k]) return Status::truncated;
                if (const Status s = start_stream(plane[p], k); s != Status::ok) return s;
            }
    for (unsigned p = 0; p < planes; ++p)
        if (plane[p].method != raw_plane) {
            if (left() / patch_bytes < plane[p].patch_count) return Status::truncated;
            plane[p].patches = at;
            at += plane[p].patch_count * patch_bytes;
        }
    return Status::ok;
}

bool Decoder::decode_window(Plane& q, size_t w, Ahead& ahead) {
    u32 need[streams];
    for (unsigned k = 0; k < streams; ++k) need[k] = u32(blocks.count(w, k));
    if (q.method == tans_plane) return kernel.tans_decode(*q.tans, q.reader, q.window, need, ahead);
    for (unsigned k = 0; k < streams; ++k) {  // what was decoded ahead of the last window's block comes first
        u8* const block = q.window + k * stride + slack;
        const size_t early = w ? size_t(block - q.reader[k].out) : 0;
        if (early > need[k]) return false;
        std::memmove(block + need[k] - early, block - early, early);
        q.reader[k].out = block + need[k] - early;
    }
    return kernel.prefix_decode(*q.prefix, q.reader, q.window, w + 1 == blocks.windows, ahead);
}

// The next patch is looked at once, here: what is checked is what is used.
bool Decoder::next_patch(Plane& q) {
    if (q.patches_at == q.patch_count) {
        q.patch_lane = ~u64{0};
        return true;
    }
    const u64 patch = load_once(q.patches + q.patches_at * patch_bytes, patch_bytes), at_lane = patch & 0xffffff;
    if (at_lane >= lanes || (q.patches_at && at_lane <= q.patch_lane)) return false;
    ++q.patches_at;
    q.patch_lane = at_lane;
    q.patch_value = u8(patch >> 24);
    return true;
}

// Puts the bytes that had no code into a block of the plane: before lanes are merged, as differences add up.
bool Decoder::patch(Plane& q, u8* block, size_t first, size_t count) {
    while (q.patch_lane - first < count) {  // what no lane has is beyond every block
        block[q.patch_lane - first] = q.patch_value;
        if (!next_patch(q)) return false;
    }
    return true;
}

Status Decoder::merge_window(size_t w, u64& before) {
    for (unsigned k = 0; k < streams; ++k) {
        const size_t first = blocks.start(w, k), count = blocks.count(w, k);
        if (!count) break;
        const u8* from[8];
        unsigned spoilt = 0;
        for (unsigned p = 0; p < planes; ++p) {
            Plane& q = plane[p];
            if (q.method == raw_plane) {
                from[p] = q.raw + first;
                continue;
            }
            u8* const block = q.method == constant_plane ? q.window : q.window + k * stride + slack;
            from[p] = block;
            if (q.patch_lane - first >= count) continue;
            if (!patch(q, block, first, count)) return Status::bad_patch;
            if (q.method == constant_plane) spoilt |= 1u << p;
        }
        u8* const out = dst + first * lane.width;
        if (lane.form != Form::palette)
            kernel.merge(out, count, lane, before, from);
        else if (!expand(out, from[0], count))
            return Status::bad_number;
        for (unsigned p = 0; spoilt >> p; ++p)
            if (spoilt >> p & 1) std::memset(plane[p].window, plane[p].value, max_block);
    }
    return Status::ok;
}

Status Decoder::run(size_t tail) {
    if (lane.form == Form::palette)
        if (const Status s = read_palette(); s != Status::ok) return s;
    if (left() < planes) return Status::truncated;
    for (unsigned p = 0; p < planes; ++p) {
        const u64 method = load_once(at + p, 1);
        if (method > tans_plane) return Status::bad_method;
        plane[p].method = Method(method);
        plane[p].patch_count = 0;
    }
    at += planes;
    for (unsigned p = 0; p < planes; ++p)
        if (const Status s = read_head(plane[p]); s != Status::ok) return s;
    if (const Status s = place(); s != Status::ok) return s;
    if (left() != tail) return left() < tail ? Status::truncated : Status::trailing;
    for (unsigned p = 0; p < planes; ++p) {
        plane[p].patches_at = 0;
        if (plane[p].method != raw_plane && !next_patch(plane[p])) return Status::bad_patch;
    }
    u64 before = 0;
    for (size_t w = 0; w < blocks.windows; ++w) {
        Ahead ahead{{}, 0, std::min(lanes - blocks.start(w, 0), streams * blocks.block), 128};
        for (unsigned p = 0; p < planes; ++p)
            if (plane[p].method == raw_plane) ahead.at[ahead.planes++] = plane[p].raw + blocks.start(w, 0);
        for (unsigned p = 0; p < planes; ++p)
            if (plane[p].method >= prefix_plane && !decode_window(plane[p], w, ahead)) return Status::bad_stream;
        if (const Status s = merge_window(w, before); s != Status::ok) return s;
    }
    kernel.fence();
    for (unsigned p = 0; p < planes; ++p)
        if (plane[p].method == tans_plane)
            for (unsigned k = 0; k < streams; ++k) {  // back at the encoder's first state, every bit used
                const Reader& r = plane[p].reader[k];
                if (r.state != 0 || size_t(r.end - r.p) * 8 != size_t(std::countl_zero(r.bits)))
                    return Status::bad_stream;
            }
    std::memcpy(dst + lanes * lane.width, at, tail);
    return Status::ok;
}
}  // namespace

Status decode(const u8* src, size_t src_len, Lane lane, u8* dst, size_t raw_len, void* scratch) noexcept {
    if (!is_lane(lane) || raw_len > max_chunk || raw_len / lane.width == 0 || !src || !dst || !scratch)
        return Status::bad_argument;
    return Decoder(src, src_len, lane, dst, raw_len, scratch).run(raw_len % lane.width);
}
}  // namespace dcpx
