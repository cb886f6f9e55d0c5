// What all targets share: exact buffers, a reader of the input, data grown from it, and the codec on every path.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "float/float_codec.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define FUZZ_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FUZZ_ASAN 1
#endif
#endif
#if defined(FUZZ_ASAN)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(p, n) (void(p), void(n))
#endif

namespace fuzz {
using dcpx::Form;
using dcpx::Lane;
using dcpx::Level;
using dcpx::Path;
using dcpx::Status;
using std::size_t;
using std::uint64_t;
using std::uint8_t;
using Bytes = std::vector<uint8_t>;

inline void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

// A heap block that ends where its bytes end, `offset` bytes past the allocator's alignment.
class Box {
  public:
    Box(size_t size, size_t offset) : memory_(new uint8_t[size + offset]), data_(memory_.get() + offset), size_(size) {}
    Box(const Bytes& bytes, size_t offset) : Box(bytes.size(), offset) { std::copy(bytes.begin(), bytes.end(), data_); }
    ~Box() { lift(); }
    Box(const Box&) = delete;
    Box& operator=(const Box&) = delete;

    uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    void fill(uint8_t value) {
        lift();
        std::memset(data_, value, size_);
    }
    void lift() { ASAN_UNPOISON_MEMORY_REGION(data_, size_); }  // the gaps of guarded_arena.hpp

  private:
    std::unique_ptr<uint8_t[]> memory_;
    uint8_t* data_;
    size_t size_;
};

// Reads the input from its front; zeros after its end.
class Input {
  public:
    Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
    size_t left() const { return size_t(end_ - at_); }
    uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
    uint64_t number(unsigned bytes) {
        uint64_t v = 0;
        for (unsigned i = 0; i < bytes; ++i) v |= uint64_t{byte()} << (8 * i);
        return v;
    }
    size_t below(size_t n) { return n <= 1 ? 0 : number(n <= 256 ? 1 : 3) % n; }
    Bytes take(size_t n) {
        n = std::min(n, left());
        Bytes out(at_, at_ + n);
        at_ += n;
        return out;
    }
    Bytes rest() { return take(left()); }

  private:
    const uint8_t *at_, *end_;
};

// The same numbers on every machine, which <random>'s distributions don't promise.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t operator()() {  // splitmix64
        uint64_t z = state_ += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        return z ^ z >> 31;
    }
    size_t below(size_t n) { return n ? (*this)() % n : 0; }

  private:
    uint64_t state_;
};

// What elements may be, which encoding is told, and then the forms that only an encoder chooses.
inline constexpr Lane lanes[] = {
    {1, Form::plain},   {2, Form::plain},   {2, Form::rotated},     {4, Form::plain},       {4, Form::rotated},
    {8, Form::plain},   {8, Form::rotated}, {2, Form::differences}, {4, Form::differences}, {8, Form::differences},
    {8, Form::bits},    {2, Form::joined},  {4, Form::joined},      {8, Form::joined},      {2, Form::palette},
    {4, Form::palette}, {8, Form::palette}};
inline constexpr size_t lane_count = 7, form_count = sizeof lanes / sizeof *lanes;

inline const std::vector<Path>& paths() {
    static const std::vector<Path> all = [] {
        std::vector<Path> v;
        for (const Path p : {Path::portable, Path::avx2, Path::avx512})
            if (dcpx::force_path(p)) v.push_back(p);
        return v;
    }();
    return all;
}

// A few bytes become a chunk of up to `most` bytes: as they are, repeated, or as a distribution that lanes or bytes are
// drawn from, so that short inputs reach many windows, long codes and patches; at times their sums, or only their
// lowest bits.
inline Bytes grow(Input& in, const Bytes& seed, unsigned width, size_t most) {
    const unsigned how = in.byte();
    const size_t size = size_t(in.number(3)) % (most + 1) >> (how >> 4 & 7);
    Random random(in.number(2));
    if (how % 8 == 0 || seed.empty()) return seed;
    Bytes out(size);
    const size_t n = seed.size(), skew = 1 + (how >> 3 & 1);
    const auto draw = [&] {
        size_t i = random.below(n);
        for (size_t k = 1; k < skew; ++k) i = std::min(i, random.below(n));
        return i;
    };
    for (size_t i = 0; i < size; ++i) switch (how % 8) {
            case 1:
                out[i] = seed[i % n];
                break;
            case 2:
            case 3:
                out[i] = seed[draw()];
                break;
            case 4:
                out[i] = random.below(700) ? seed[draw()] : uint8_t(random());
                break;
            case 5:  // half zeros: a code of one bit
                out[i] = random() & 1 ? seed[draw()] : 0;
                break;
            case 6:  // whole lanes
                if (i % width == 0) {
                    const size_t from = draw() / width * width;
                    for (size_t j = 0; j < width && i + j < size; ++j) out[i + j] = seed[(from + j) % n];
                }
                break;
            default:  // only the top byte is orderly
                out[i] = i % width == width - 1 ? seed[draw()] : uint8_t(random());
                break;
        }
    if (how & 128)
        for (size_t i = 0; i < size; ++i) {
            if (width == 1) out[i] &= uint8_t(15 >> (how & 3));
            unsigned sum = 0;
            if (width > 1 && i >= width && i % width == 0)
                for (size_t j = 0; j < width && i + j < size; ++j) {
                    sum += out[i + j] + out[i + j - width];
                    out[i + j] = uint8_t(sum);
                    sum >>= 8;
                }
        }
    return out;
}

// `lane` says what the elements are, and then which form was chosen.
inline Bytes encode(const Bytes& raw, Lane& lane, Level level, size_t cap, size_t offset) {
    const Box src(raw, offset), dst(cap, offset * 5 % 64);
    static std::unique_ptr<Box>
        scratch;  // kept while the size is the same, as making it costs more than a short encode
    static size_t scratch_for = 0;
    if (!scratch || scratch_for != raw.size())
        scratch = std::make_unique<Box>(dcpx::encode_scratch(scratch_for = raw.size()), raw.size() % 61);
    scratch->fill(uint8_t(offset));
    const auto [size, formed] = dcpx::encode(src.data(), raw.size(), lane, level, dst.data(), cap, scratch->data());
    lane = formed;
    require(size <= cap, "coded size within dst");
    require(size < raw.size() || size == 0, "coded size below raw size");
    require(std::equal(raw.begin(), raw.end(), src.data()), "encode leaves its source alone");
    return Bytes(dst.data(), dst.data() + size);
}

// All paths give the same bytes; room for less gives none, or those of the other form, if it takes less after all.
inline Bytes encode_everywhere(const Bytes& raw, Lane& lane, Level level, size_t offset) {
    Bytes first;
    const Lane given = lane;
    for (const Path path : paths()) {
        dcpx::force_path(path);
        Lane formed = given;
        const Bytes coded = encode(raw, formed, level, raw.size(), (offset + size_t(path) * 11) % 64);
        if (path == Path::portable) {
            first = coded;
            lane = formed;
        }
        require(coded == first && parameter_of(formed) == parameter_of(lane), "every path gives the same coded bytes");
    }
    if (!first.empty()) {
        Lane again = given, less = given;
        require(encode(raw, again, level, first.size(), offset) == first, "exact room gives the same bytes");
        require(encode(raw, less, level, first.size() - 1, offset).size() < first.size(), "less room gives less");
    }
    return first;
}

// Dirty memory that differs from path to path: what a decoder reads before it writes shows as a difference.
inline Status decode(const Bytes& coded, Lane lane, size_t raw_size, size_t offset, uint8_t dirt, Bytes& out) {
    const Box src(coded, offset);
    static std::unique_ptr<Box> scratch[64];  // kept, as making them costs more than a short decode
    auto& s = scratch[offset * 3 % 64];
    if (!s) s = std::make_unique<Box>(dcpx::decode_scratch, offset * 3 % 64);
    s->fill(dirt);
    Box dst(raw_size, offset * 7 % 64);
    if (raw_size <= size_t{1} << 18) dst.fill(dirt);
    const Status status = dcpx::decode(src.data(), coded.size(), lane, dst.data(), raw_size, s->data());
    require(status <= Status::bad_number, "decode returns a status");
    require(std::equal(coded.begin(), coded.end(), src.data()), "decode leaves its source alone");
    if (status == Status::ok) out.assign(dst.data(), dst.data() + raw_size);
    return status;
}

// All paths give the same status and, if ok, the same bytes.
inline Status decode_everywhere(const Bytes& coded, Lane lane, size_t raw_size, size_t offset, Bytes& out) {
    Status first = Status::ok;
    for (const Path path : paths()) {
        dcpx::force_path(path);
        Bytes raw;
        // every second call at an aligned target, which takes the streaming stores
        const size_t shift = path == Path::avx2 ? 0 : offset;
        const Status status = decode(coded, lane, raw_size, shift, uint8_t(0x5a * size_t(path) + offset), raw);
        if (path == Path::portable) {
            first = status;
            out = std::move(raw);
        } else {
            require(status == first, "every path gives the same status");
            require(raw == out, "every path decodes the same bytes");
        }
    }
    return first;
}

}  // namespace fuzz
