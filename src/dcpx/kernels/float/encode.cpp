// Encoding: decide per plane from a sample, then split, screen and code window by window while the bytes are in L1.
#include <algorithm>

#include "histogram.hpp"
#include "palette.hpp"
#include "tables.hpp"

namespace dcpx {
namespace {

struct Plane {
    Method method;
    u8 value;        // constant, and stand-in for patched lanes
    u8 allowed[32];  // bitmap of the bytes that have a code
    u8* raw;         // raw: where the plane lies in dst
    u8* window;      // else: the window's bytes, max_block apart
    u8* area;        // coded streams, area_step apart
    size_t area_step;
    u8* sizes;  // where the head's sizes and count go in dst
    Patch* patches;
    size_t patch_count;
    Alphabet lengths;    // prefix
    Frequencies shares;  // tANS
    PrefixEncoder* prefix;
    TansEncoder* tans;
    Appender append[streams];
    Prepender prepend[streams];
    size_t coded() const {
        size_t sum = patch_count * patch_bytes;
        for (unsigned k = 0; k < streams; ++k) sum += stream_size(k);
        return sum;
    }
    const u8* stream_start(unsigned k) const { return method == prefix_plane ? area + k * area_step : prepend[k].p; }
    size_t stream_size(unsigned k) const {
        if (method == prefix_plane) return size_t(append[k].p - stream_start(k));
        if (method == tans_plane) return size_t(area + (k + 1) * area_step - prepend[k].p);
        return 0;
    }
};

struct Encoder {
    const u8* src;
    size_t n, lanes;
    Lane lane;
    Level level;
    u8* dst;
    size_t cap;
    Blocks blocks;
    size_t patch_cap;
    Plane* plane;
    size_t sampled;
    u32 (*hist)[256];
    const Kernels& kernel;

    Encoder(const u8* s, size_t size, Sample& sample, Level lev, u8* d, size_t c, Arena arena)
        : src(s),
          n(size),
          lanes(size / sample.lane.width),
          lane(sample.lane),
          level(lev),
          dst(d),
          cap(std::min(c, size)),
          blocks(lanes),
          patch_cap(lanes / 64 + 16),
          sampled(sample.counted),
          hist(sample.hist),
          kernel(kernels()) {
        plane = arena.take<Plane>(8);
        for (unsigned p = 0; p < lane.width; ++p) {
            Plane& q = plane[p];
            q.prefix = arena.take<PrefixEncoder>();
            if (level == Level::small) q.tans = arena.take<TansEncoder>();
            q.window = arena.take<u8>(streams * max_block);
            q.patches = arena.take<Patch>(patch_cap);
            q.area_step = blocks.windows * blocks.block * 3 / 2 + 32;  // 12 bits a symbol at worst, and whole stores
            q.area = arena.take<u8>(streams * q.area_step);
        }
    }

    size_t run();
    size_t attempt(bool exact, unsigned forced_raw, unsigned* failed);
    bool choose(bool exact, unsigned forced_raw);
    void settle(Plane& q, u32* h, size_t counted);
    bool write_head(Plane& q, u8*& at);
    bool has(bool tans) const;
    void code_window(size_t w, bool tans);
    void code_blocks(Plane& q, size_t w);
    size_t finish(u8* at);
};

// Which planes are worth coding, by a small sample. False: none.
bool Encoder::choose(bool exact, unsigned forced_raw) {
    const size_t counted = exact ? sample(src, lanes, lane, lanes, (1u << lane.width) - 1, hist) : sampled;
    unsigned coded = 0;
    for (unsigned p = 0; p < lane.width; ++p) {
        plane[p].method = raw_plane;
        plane[p].patch_count = 0;
        if (forced_raw >> p & 1 || estimate(hist[p], counted, lanes, level) == lanes) continue;
        plane[p].method = prefix_plane;
        coded |= 1u << p;
    }
    if (!coded) return false;
    const size_t second = level == Level::fast ? size_t{1} << 14 : size_t{1} << 17;
    const size_t again =
        !exact && lanes > first_sample(level) ? sample(src, lanes, lane, second, coded, hist) : counted;
    for (unsigned p = 0; p < lane.width; ++p)
        if (coded >> p & 1) settle(plane[p], hist[p], again);
    return true;
}

// Leaves out symbols so rare that patches are cheaper than code space; one that stays alone is a constant.
void Encoder::settle(Plane& q, u32* h, size_t counted) {
    std::memset(q.allowed, 0, sizeof q.allowed);
    unsigned kept = 0, top = 0;
    for (unsigned s = 1; s < 256; ++s)
        if (h[s] > h[top]) top = s;
    const bool alone = level == Level::fast && nearly_constant(h[top], counted);
    for (unsigned s = 0; s < 256; ++s) {
        if (u64{h[s]} << 16 < counted || (alone && s != top)) h[s] = 0;
        if (!h[s]) continue;
        q.allowed[s >> 3] |= u8(1u << (s & 7));
        ++kept;
    }
    q.value = u8(top);
    if (kept == 1) {
        q.method = constant_plane;
        return;
    }
    prefix_lengths(h, q.lengths);
    if (level == Level::fast) return;
    tans_frequencies(h, q.shares);
    u64 prefix = 0, tans = 0;  // bits * 4096
    for (unsigned s = 0; s < 256; ++s)
        if (h[s]) {
            prefix += u64{h[s]} * q.lengths.value[s] * 4096;
            tans += u64{h[s]} * (tans_bits * 4096 - log2_q12(q.shares.value[s]));
        }
    if (prefix > tans + tans / 1024) q.method = tans_plane;
}

// False: no room, so the chunk doesn't get smaller. Sizes and counts are filled in at the end.
bool Encoder::write_head(Plane& q, u8*& at) {
    u8 table[max_table];
    size_t size = 0, sizes = count_bytes;
    if (q.method == raw_plane) return true;
    if (q.method == constant_plane) {
        table[size++] = q.value;
    } else if (q.method == prefix_plane) {
        prefix_encoder(q.lengths, *q.prefix);
        size = write_lengths(q.lengths, table);
        sizes += streams * size_bytes;
        for (unsigned k = 0; k < streams; ++k) q.append[k] = {q.area + k * q.area_step, 0, 0};
    } else {
        tans_encoder(q.shares, *q.tans);
        size = write_frequencies(q.shares, table);
        sizes += streams * size_bytes;
        for (unsigned k = 0; k < streams; ++k) q.prepend[k] = {q.area + (k + 1) * q.area_step, 0, 0, tans_size};
    }
    if (cap - size_t(at - dst) < size + sizes) return false;
    std::memcpy(at, table, size);
    q.sizes = at + size;
    at += size + sizes;
    return true;
}

void Encoder::code_blocks(Plane& q, size_t w) {
    const size_t first = blocks.start(w, 0), count = std::min(lanes - first, streams * blocks.block);
    q.patch_count +=
        kernel.screen(q.window, count, q.allowed, q.value, u32(first), q.patches + std::min(q.patch_count, patch_cap),
                      patch_cap - std::min(q.patch_count, patch_cap));
    if (q.method == constant_plane) return;
    if (q.method == tans_plane && count == streams * blocks.block) {
        kernel.tans_encode(q.window, blocks.block, blocks.block, *q.tans, q.prepend, streams);
        return;
    }
    for (unsigned k = 0; k < streams; ++k) {
        const u8* const sym = q.window + k * blocks.block;
        if (q.method == prefix_plane)
            kernel.prefix_encode(sym, blocks.count(w, k), *q.prefix, q.append[k]);
        else
            kernel.tans_encode(sym, blocks.block, blocks.count(w, k), *q.tans, q.prepend + k, 1);
    }
}

bool Encoder::has(bool tans) const {
    return std::any_of(plane, plane + lane.width, [=](const Plane& q) { return (q.method == tans_plane) == tans; });
}

// Codes the planes that are tANS planes, or those that aren't.
void Encoder::code_window(size_t w, bool tans) {
    const size_t first = blocks.start(w, 0), count = std::min(lanes - first, streams * blocks.block);
    u8* to[8];
    for (unsigned p = 0; p < lane.width; ++p)
        to[p] = plane[p].method == raw_plane && !tans ? plane[p].raw + first : plane[p].window;
    const u8* const from = src + first * lane.width;
    kernel.split(from, count, lane, first == 0 ? 0 : load_le(from - lane.width, lane.width), to);
    for (unsigned p = 0; p < lane.width; ++p)
        if (plane[p].method != raw_plane && (plane[p].method == tans_plane) == tans) code_blocks(plane[p], w);
}

size_t Encoder::attempt(bool exact, unsigned forced_raw, unsigned* failed) {
    *failed = 0;
    if (!choose(exact, forced_raw)) return 0;
    u8* at = dst;
    if (cap < lane.width) return 0;
    for (unsigned p = 0; p < lane.width; ++p) *at++ = plane[p].method;
    for (unsigned p = 0; p < lane.width; ++p)
        if (!write_head(plane[p], at)) return 0;
    for (unsigned p = 0; p < lane.width; ++p)
        if (plane[p].method == raw_plane) {
            plane[p].raw = at;
            if (lanes > cap - size_t(at - dst)) return 0;
            at += lanes;
        }
    if (has(false))
        for (size_t w = 0; w < blocks.windows; ++w) code_window(w, false);
    if (has(true))  // tANS runs backwards
        for (size_t w = blocks.windows; w-- > 0;) code_window(w, true);
    for (unsigned p = 0; p < lane.width; ++p) {
        Plane& q = plane[p];
        for (unsigned k = 0; k < streams; ++k) {
            if (q.method == prefix_plane && q.append[k].n) ++q.append[k].p;
            if (q.method == tans_plane &&
                blocks.count(0, k)) {  // state, then a 1 that ends the padding of the first byte
                Prepender& e = q.prepend[k];
                e.acc = e.acc << (tans_bits + 1) | (e.state - tans_size) << 1 | 1;
                e.n += tans_bits + 1;
                flush(e);
                if (e.n) --e.p;
            }
        }
        if (q.patch_count > patch_cap || (q.method != raw_plane && q.coded() >= lanes)) *failed |= 1u << p;
    }
    return *failed ? 0 : finish(at);
}

size_t Encoder::finish(u8* at) {
    const size_t tail = n % lane.width;
    size_t total = size_t(at - dst) + tail;
    for (unsigned p = 0; p < lane.width; ++p)
        if (plane[p].method != raw_plane) total += plane[p].coded();
    if (total >= n || total > cap) return 0;
    for (unsigned p = 0; p < lane.width; ++p) {
        Plane& q = plane[p];
        if (q.method == raw_plane) continue;
        u8* sizes = q.sizes;
        if (q.method != constant_plane)
            for (unsigned k = 0; k < streams; ++k, sizes += size_bytes) {
                const size_t size = q.stream_size(k);
                store_le(sizes, size, size_bytes);
                std::memcpy(at, q.stream_start(k), size);
                at += size;
            }
        store_le(sizes, q.patch_count, count_bytes);
    }
    for (unsigned p = 0; p < lane.width; ++p) {
        Plane& q = plane[p];
        if (q.method == raw_plane) continue;
        if (q.method == tans_plane)  // found window by window from the last: put in order
            std::sort(q.patches, q.patches + q.patch_count,
                      [](const Patch& a, const Patch& b) { return a.lane < b.lane; });
        for (size_t i = 0; i < q.patch_count; ++i, at += patch_bytes)
            store_le(at, q.patches[i].lane | u64{q.patches[i].value} << 24, 4);
    }
    std::memcpy(at, src + (n - tail), tail);
    return total;
}

size_t Encoder::run() {
    unsigned failed;
    const size_t first = attempt(false, 0, &failed);
    if (!failed) return first;
    unsigned raw = 0;  // the sample misled: count everything, and give up the planes that still don't pay
    for (int tries = 0; tries < 9; ++tries) {
        const size_t size = attempt(true, raw, &failed);
        if (!failed) return size;
        raw |= failed;
    }
    return 0;
}

// Numbers lanes of few different values, where their numbers promise less than `promised` bytes. 0: they aren't few, or
// don't pay.
size_t encode_palette(const u8* src, size_t n, unsigned width, Level level, size_t promised, u8* dst, size_t cap,
                      Arena arena) {
    const size_t lanes = n / width, tail = n % width;
    Palette& palette = *arena.take<Palette>();
    Sample& numbered = *arena.take<Sample>();
    size_t counted;
    if (n < least_formed || !palette.sample(src, lanes, width, numbered.hist[0], counted)) return 0;
    if (estimate(numbered.hist[0], counted, lanes, level) + palette.count() * width + n / 256 >= promised) return 0;
    u8* const numbers = arena.take<u8>(lanes);
    if (!palette.number(src, lanes, width, numbers)) return 0;
    const size_t head = 1 + palette.count() * width;
    if (cap < head + tail) return 0;
    dst[0] = u8(palette.count() - 1);
    for (unsigned i = 0; i < palette.count(); ++i) store_le(dst + 1 + i * width, palette.value(i), width);
    u8* const at = dst + head;
    cap -= head + tail;
    take_sample(numbered, numbers, lanes, {1, Form::plain}, level);
    size_t size = Encoder(numbers, lanes, numbered, level, at, cap, arena).run();
    if (size == 0) {
        size = 1 + lanes;
        if (cap < size) return 0;
        at[0] = raw_plane;
        std::memcpy(at + 1, numbers, lanes);
    }
    std::memcpy(at + size, src + (n - tail), tail);
    const size_t total = head + size + tail;
    return total < n ? total : 0;
}
}  // namespace

Coded encode(const u8* src, size_t n, Lane lane, Level level, u8* dst, size_t dst_cap, void* scratch) noexcept {
    if (!is_lane(lane) || lane.form > Form::rotated || n < lane.width || n > max_chunk || !src || !dst || !scratch)
        return {0, lane};
    Arena arena(scratch);
    Sample(&samples)[3] = *arena.take<Sample[3]>();
    Sample& chosen = choose_form(samples, src, n, lane, level);
    if (lane.width > 1)
        if (const size_t size = encode_palette(src, n, lane.width, level, chosen.promised, dst, dst_cap, arena))
            return {size, {lane.width, Form::palette}};
    const size_t size = Encoder(src, n, chosen, level, dst, dst_cap, arena).run();
    if (size > 0 || &chosen == &samples[0]) return {size, chosen.lane};
    return {Encoder(src, n, samples[0], level, dst, dst_cap, arena).run(), lane};  // the sample misled
}
}  // namespace dcpx
