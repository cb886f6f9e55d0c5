// The fuzz targets' promises on data of a fixed generator, without libFuzzer: for machines and compilers that lack it.
// Prints a checksum over all coded bytes and decoders' answers, which must be the same on every machine.
// check [rounds of the random parts]
#include <span>

#include "float/layout.hpp"
#include "harness.hpp"
#include "planes.hpp"
#include "sniff.hpp"

using namespace fuzz;

namespace {

struct Checksum {  // FNV-1a
    uint64_t value = 0xcbf29ce484222325u;
    void add(uint64_t v, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i) value = (value ^ (v >> (8 * i) & 255)) * 0x100000001b3u;
    }
    void add(const Bytes& bytes) {
        add(bytes.size(), 8);
        for (const uint8_t b : bytes) add(b, 1);
    }
} checksum;

Random random_number(1);
size_t trips = 0, smaller = 0, changed = 0, accepted = 0;

uint64_t halvings(unsigned most) {  // how often a fair coin shows the same side
    const uint64_t v = random_number() | uint64_t{1} << most;
    return uint64_t(__builtin_ctzll(v));
}

using Generator = Bytes (*)(size_t size, unsigned width);
constexpr Generator generators[] = {
    [](size_t n, unsigned width) {  // weights: sign, exponents that thin out downwards, random mantissas
        Bytes b(n);
        for (size_t i = 0; i + width <= n; i += width) {
            const unsigned bits = 8 * width, exponent_bits = width == 1 ? 4 : width == 2 ? 8 : width == 4 ? 8 : 11;
            const uint64_t exponent = (uint64_t{1} << (exponent_bits - 1)) - 6 - halvings(exponent_bits == 4 ? 1 : 40);
            const uint64_t mantissa = random_number() >> (65 - bits + exponent_bits);
            const uint64_t v = (random_number() & 1) << (bits - 1) | exponent << (bits - 1 - exponent_bits) | mantissa;
            for (unsigned j = 0; j < width; ++j) b[i + j] = uint8_t(v >> (8 * j));
        }
        return b;
    },
    [](size_t n, unsigned) { return Bytes(n, 0); },
    [](size_t n, unsigned) { return Bytes(n, 255); },
    [](size_t n, unsigned) {  // random
        Bytes b(n);
        for (auto& x : b) x = uint8_t(random_number());
        return b;
    },
    [](size_t n, unsigned) {  // two values
        Bytes b(n);
        for (auto& x : b) x = random_number() & 1 ? 7 : 200;
        return b;
    },
    [](size_t n, unsigned) {  // one value and rare others: constants with patches
        Bytes b(n, 3);
        for (size_t i = 0; i < n; i += 1 + random_number.below(4000)) b[i] = uint8_t(random_number());
        return b;
    },
    [](size_t n, unsigned width) {  // counting
        Bytes b(n);
        for (size_t i = 0; i < n; ++i) b[i] = i % width < 8 ? uint8_t(i / width * 3 >> (8 * (i % width))) : 0;
        return b;
    },
    [](size_t n, unsigned width) {  // a walk
        Bytes b(n);
        uint64_t at = 0;
        for (size_t i = 0; i < n; ++i) {
            if (i % width == 0) at += random_number.below(1000) ? random_number.below(40) - 10 : random_number();
            b[i] = uint8_t(at >> (8 * (i % width)));
        }
        return b;
    },
    [](size_t n, unsigned) {  // a mask
        Bytes b(n);
        for (auto& x : b) x = random_number.below(9) == 0;
        return b;
    },
    [](size_t n, unsigned) {  // all lengths of code
        Bytes b(n);
        for (auto& x : b) x = uint8_t(halvings(40) * 5);
        return b;
    },
    [](size_t n, unsigned) {  // half zeros, then many long codes
        Bytes b(n);
        for (auto& x : b) x = random_number() & 1 ? 0 : uint8_t(1 + random_number.below(200));
        return b;
    },
    [](size_t n, unsigned) {  // a flat tail
        Bytes b(n);
        for (auto& x : b) x = random_number.below(50) ? uint8_t(random_number() & 1) : uint8_t(random_number());
        return b;
    },
    [](size_t n, unsigned) {  // what the sample didn't see
        Bytes b(n, 0);
        for (size_t i = n / 3 * 2; i < n; ++i) b[i] = uint8_t(random_number());
        return b;
    },
    [](size_t n, unsigned width) {  // streams of unlike lengths
        Bytes b(n);
        for (size_t i = 0; i < n; ++i)
            b[i] = i / (1024 * width) % 8 == 3 ? uint8_t(random_number.below(60)) : random_number.below(100) == 0;
        return b;
    },
};

Bytes round_trip(const Bytes& raw, Lane& lane, Level level) {
    const size_t offset = trips++ % 64;
    const Bytes coded = encode_everywhere(raw, lane, level, offset);
    checksum.add(coded);
    checksum.add(parameter_of(lane), 2);
    if (coded.empty()) return coded;
    ++smaller;
    Bytes out;
    require(decode_everywhere(coded, lane, raw.size(), offset, out) == Status::ok, "what was encoded decodes");
    require(out == raw, "what was encoded decodes to itself");
    return coded;
}

void change(Bytes& coded) {
    const size_t head = random_number.below(3) ? std::min<size_t>(coded.size(), 120) : coded.size();
    const auto any = [] { return uint8_t(random_number()); };
    switch (random_number.below(6)) {
        case 0:
            coded[random_number.below(head)] ^= uint8_t(1u << random_number.below(8));
            break;
        case 1:
            coded[random_number.below(head)] = any();
            break;
        case 2:
            coded.resize(1 + random_number.below(coded.size()));
            break;
        case 3: {
            const size_t at = random_number.below(head);  // apart, as arguments have no order
            coded.insert(coded.begin() + long(at), any());
            break;
        }
        case 4:
            for (size_t i = random_number.below(coded.size()), k = 0; i < coded.size() && k < 16; ++i, ++k)
                coded[i] = any();
            break;
        default:
            coded[coded.size() - 1 - random_number.below(std::min<size_t>(coded.size(), 24))] = any();
            break;
    }
}

void mutations(size_t rounds) {
    for (size_t round = 0; round < rounds; ++round) {
        Lane lane = lanes[random_number.below(lane_count)];
        const Level level = Level(random_number.below(2));
        const size_t size = round % 64 == 0 ? 20000 + random_number.below(60000) : 100 + random_number.below(9000);
        const size_t kind = random_number.below(std::size(generators));
        const Bytes raw = generators[kind](size, lane.width), coded = round_trip(raw, lane, level);
        if (coded.empty()) continue;
        for (int copy = 0; copy < 8; ++copy) {
            Bytes forged = coded, out;
            for (size_t count = 1 + random_number.below(3); count > 0; --count) change(forged);
            const size_t claimed = random_number.below(8) ? size : size + random_number.below(5000);
            const Lane as = random_number.below(16) ? lane : lanes[random_number.below(form_count)];
            const Status status = decode_everywhere(forged, as, claimed, random_number.below(64), out);
            checksum.add(uint64_t(status), 1);
            ++changed;
            if (status != Status::ok) continue;
            ++accepted;
            checksum.add(out);
        }
    }
}

// Streams of many shapes, so that every way in which one can end comes up: padding of 0..7 bits behind codes of any
// length, in whole loads and in the last bytes.
void stream_ends(size_t rounds) {
    for (size_t round = 0; round < rounds; ++round) {
        const unsigned share = unsigned(random_number.below(90)), symbols = unsigned(1 + random_number.below(220));
        Bytes raw(300 + random_number.below(2000));
        for (auto& x : raw) x = random_number.below(100) < share ? 0 : uint8_t(1 + random_number.below(symbols));
        Lane lane{1, Form::plain};
        round_trip(raw, lane, Level(round % 8 == 0));
    }
}

void split_and_merge() {
    for (size_t width = 2; width <= 8; width *= 2)
        for (size_t n = 0; n <= 3000; n = n < 200 ? n + 1 : n * 2 - 31) {
            Bytes raw(n * width);
            for (auto& x : raw) x = uint8_t(random_number());
            const Box src(raw, n % 64);
            Box planes(raw.size(), n * 3 % 64), back(raw.size(), n * 5 % 64);
            dcpx::split_planes(src.data(), planes.data(), n, width);
            for (size_t i = 0; i < raw.size(); ++i)
                require(planes.data()[i % width * n + i / width] == raw[i], "byte j of lane i lies in plane j at i");
            dcpx::merge_planes(planes.data(), back.data(), n, width);
            require(std::equal(raw.begin(), raw.end(), back.data()), "merging undoes splitting");
        }
}

void samples() {
    for (const Generator& make : generators)
        for (const size_t size : {0, 7, 1023, 1024, 1031, 70001, 524289, 1048583, 4500001}) {
            const Bytes raw = make(size, 4);
            const Box src(raw, size % 64);
            require(dcpx::is_lane(dcpx::sniff_lane(src.data(), size)), "sniff_lane gives a lane");
            const unsigned share = dcpx::repeats(src.data(), size);
            require(share <= 1024, "repeats is a share of 1024");
            checksum.add(share, 4);
        }
}

}  // namespace

int main(int argc, char** argv) {
    const size_t rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000;
    for (const Lane& given : std::span(lanes).first<lane_count>())
        for (const Level level : {Level::fast, Level::small})
            for (const Generator& make : generators) {
                const bool every = make == generators[0] || make == generators[4] || make == generators[6];
                const auto trip = [&](size_t n) {
                    Lane lane = given;
                    round_trip(make(n, given.width), lane, level);
                };
                for (size_t n = 0; n <= 300; n += every ? 1 : 7) trip(n);
                for (const size_t n : {1000, 4097, 16385, 65549, 200001}) trip(n);
            }
    stream_ends(rounds * 20);
    mutations(rounds);
    split_and_merge();
    samples();
    std::fprintf(stderr, "%zu round trips on %zu paths, %zu of them smaller; %zu changed chunks, %zu accepted\n", trips,
                 paths().size(), smaller, changed, accepted);
    std::printf("checksum %016llx\n", static_cast<unsigned long long>(checksum.value));
    return 0;
}
