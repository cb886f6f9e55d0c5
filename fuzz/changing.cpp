// Coding and decoding of memory that somebody else writes to, as far as that can matter: a byte has another value each
// time it is looked at. Whatever comes of it, nothing outside the buffers is touched. No race is needed for that: the
// memory is out of reach, each access traps, and the processor's trap flag ends what it was allowed.
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>

#include "chunks.hpp"
#include "float/layout.hpp"
#include "harness.hpp"
#include "hash/xxh3.hpp"

#if !defined(__x86_64__) || !defined(__linux__)
#error "the trap flag and its context are those of Linux on x86-64"
#endif

using namespace fuzz;

namespace {

constexpr long long trap_flag = 0x100;

// The memory that traps: one at a time.
struct Trapping {
    uint8_t* begin = nullptr;
    size_t size = 0;  // whole pages
    uint8_t* changing = nullptr;
    uint8_t values[2] = {};
    unsigned looks = 0;
    struct sigaction segv_before, trap_before;

    bool holds(const void* at) const { return begin <= at && at < begin + size; }
} trapping;

void on_access(int number, siginfo_t* info, void* context) {
    if (!trapping.holds(info->si_addr)) {  // a crash: for AddressSanitizer to report
        trapping.segv_before.sa_sigaction(number, info, context);
        return;
    }
    mprotect(trapping.begin, trapping.size, PROT_READ | PROT_WRITE);
    *trapping.changing = trapping.values[++trapping.looks & 1];
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= trap_flag;
}

void after_access(int, siginfo_t*, void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~trap_flag;
    mprotect(trapping.begin, trapping.size, PROT_NONE);
}

// A copy of `bytes` whose byte `at` is now one value and now the other.
class Changing {
  public:
    Changing(const Bytes& bytes, size_t at, uint8_t first, uint8_t second) {
        const size_t page = size_t(sysconf(_SC_PAGESIZE));
        trapping.size = (bytes.size() + page - 1) / page * page;
        void* const memory = mmap(nullptr, trapping.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(memory != MAP_FAILED, "memory for the test");
        trapping.begin = static_cast<uint8_t*>(memory);
        data_ = trapping.begin + trapping.size - bytes.size();
        std::copy(bytes.begin(), bytes.end(), data_);
        trapping.changing = data_ + at;
        trapping.values[1] = first;
        trapping.values[0] = second;
        trapping.looks = 0;
        struct sigaction action{};
        action.sa_flags = SA_SIGINFO | SA_NODEFER;
        action.sa_sigaction = on_access;
        sigaction(SIGSEGV, &action, &trapping.segv_before);
        action.sa_sigaction = after_access;
        sigaction(SIGTRAP, &action, &trapping.trap_before);
        mprotect(trapping.begin, trapping.size, PROT_NONE);
    }
    ~Changing() {
        sigaction(SIGSEGV, &trapping.segv_before, nullptr);
        sigaction(SIGTRAP, &trapping.trap_before, nullptr);
        munmap(trapping.begin, trapping.size);
    }
    const uint8_t* data() const { return data_; }

  private:
    uint8_t* data_;
};

size_t runs = 0, looks = 0;

// Does `work` to the bytes, each of whose first `count` has two values in turn, and then the others now and then.
template <class Work>
void with_each_byte_changing(const Bytes& bytes, size_t count, Work work) {
    Random random_number(bytes.size());
    for (size_t at = 0; at < bytes.size(); at += at < count ? 1 : 1 + random_number.below(200))
        for (const uint8_t other : {uint8_t(random_number.below(4)), uint8_t(random_number())})
            for (const bool first : {false, true}) {
                const Changing source(bytes, at, first ? other : bytes[at], first ? bytes[at] : other);
                work(source.data());
                ++runs;
                looks += trapping.looks;
            }
}

Bytes weights(size_t size) {
    Random random_number(7);
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
        bytes[i] = i % 2 ? uint8_t(60 + random_number.below(6) * random_number.below(2)) : uint8_t(random_number());
    bytes[size / 2 | 1] = 255;  // a patch
    return bytes;
}

Bytes counting(size_t size) {
    Random random_number(8);
    Bytes bytes(size);
    uint32_t at = 0;
    for (size_t i = 0; i < size; ++i)
        bytes[i] = uint8_t((i % 4 ? at : at += uint32_t(random_number.below(6))) >> 8 * (i % 4));
    bytes[size / 2 | 3] = 255;  // a patch
    return bytes;
}

Bytes few(size_t size) {
    Random random_number(9);
    Bytes bytes(size);
    for (size_t i = 0; i < size; i += 2)
        bytes[i] = bytes[i + 1] = uint8_t(17 * std::min(random_number.below(6), random_number.below(6)));
    return bytes;
}

void code_and_decode(const Bytes& raw, Lane given, Form form, Level level) {
    Box scratch(dcpx::encode_scratch(raw.size()), 0), out(raw.size(), 0);
    Bytes coded(raw.size());
    const auto [size, lane] =
        dcpx::encode(raw.data(), raw.size(), given, level, coded.data(), coded.size(), scratch.data());
    coded.resize(size);
    require(!coded.empty() && lane.form == form, "they get smaller, in this form");
    const Lane as = lane;
    with_each_byte_changing(coded, 50, [&](const uint8_t* source) {
        static Box tables(dcpx::decode_scratch, 0);
        tables.fill(0x41);  // where a table is missing, a wild pointer
        dcpx::decode(source, coded.size(), as, out.data(), raw.size(), tables.data());
    });
    with_each_byte_changing(raw, 1, [&](const uint8_t* source) {
        scratch.lift();
        dcpx::encode(source, raw.size(), given, level, out.data(), raw.size(), scratch.data());
    });
}

// A record that is believed has the content that was asked for, and a copy has the hash that it is given.
void take_and_release(const Bytes& raw) {
    Bytes record(dcpx::chunk_header_size);
    record[0] = 1;
    dcpx::store_le(record.data() + 8, raw.size(), 4);
    dcpx::store_le(record.data() + 12, raw.size(), 4);
    record.insert(record.end(), raw.begin(), raw.end());
    const uint64_t content = dcpx::xxh3(raw.data(), raw.size(), 0);
    uint8_t tagged[24];
    std::copy(record.begin(), record.begin() + 16, tagged);
    dcpx::store_le(tagged + 16, content, 8);
    dcpx::store_le(record.data() + 16, dcpx::xxh3(tagged, sizeof tagged, 0), 8);
    Box out(raw.size(), 0), tables(dcpx::decode_scratch, 0);
    with_each_byte_changing(record, dcpx::chunk_header_size, [&](const uint8_t* source) {
        const dcpx::ChunkJob job{source, record.size(), out.data(), raw.size(), 0, 0, content, 1};
        if (dcpx::decode_chunk(job, tables.data()))
            require(std::equal(raw.begin(), raw.end(), out.data()), "what is released is what was asked for");
    });
    with_each_byte_changing(raw, 4, [&](const uint8_t* source) {
        dcpx::Xxh3 hash;
        hash.update_copying(source, raw.size(), out.data());
        require(hash.digest64() == dcpx::xxh3(out.data(), raw.size(), 0), "a copy has the hash that it is given");
    });
}

}  // namespace

int main() {
    for (const Path path : {Path::portable, Path::best}) {
        dcpx::force_path(path);
        for (const Level level : {Level::fast, Level::small}) {
            code_and_decode(weights(600), {2, Form::rotated}, Form::rotated, level);
            code_and_decode(counting(1200), {4, Form::plain}, Form::differences, level);
            code_and_decode(few(600), {2, Form::plain}, Form::palette, level);
        }
        take_and_release(weights(300));
    }
    std::printf("%zu runs, %zu looks at what changes\n", runs, looks);
    return 0;
}
