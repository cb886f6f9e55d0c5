// The path for any machine, and the run-time choice between the paths.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
#include <initializer_list>

#include "lanes.hpp"
#include "loops.hpp"

namespace dcpx {
namespace {
void split(const u8* s, size_t n, Lane lane, u64 before, u8* const* p) { lanes::split(s, 0, n, lane, before, p); }
void merge(u8* d, size_t n, Lane lane, u64& before, const u8* const* p) { lanes::merge(d, 0, n, lane, before, p); }
size_t screen(u8* s, size_t n, const u8* allowed, u8 stand_in, u32 base, Patch* out, size_t cap) {
    return loops::screen(s, 0, n, allowed, stand_in, base, out, 0, cap);
}
void prefix_encode(const u8* s, size_t n, const PrefixEncoder& t, Appender& w) { loops::prefix_encode(s, n, t, w); }
bool prefix_decode(const PrefixDecoder& t, Reader* r, u8* window, bool last, Ahead& ahead) {
    return loops::prefix_decode(t, r, window, last, ahead);
}
void tans_encode(const u8* s, size_t block, size_t n, const TansEncoder& t, Prepender* w, unsigned count) {
    loops::tans_encode(s, block, n, t, w, count);
}
bool tans_decode(const TansDecoder& t, Reader* r, u8* window, const u32* need, Ahead& ahead) {
    return loops::tans_decode(t, r, window, need, ahead);
}

void fence() {}

#if defined(__x86_64__)
// Asked of the processor itself: __builtin_cpu_supports knows lzcnt only with GCC, and with Zig's runtime finds
// nothing.
bool all(u32 bits, std::initializer_list<int> wanted) {
    for (const int bit : wanted)
        if (!(bits >> bit & 1)) return false;
    return true;
}

bool has(Path path) {
    if (path == Path::portable) return true;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !all(c, {27, 28})) return false;  // xgetbv, avx
    u32 kept, high;  // which registers the operating system keeps for each thread
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    if (!all(kept, {1, 2})) return false;                                              // xmm, ymm
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !all(c, {5})) return false;        // lzcnt
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all(b, {3, 5, 8})) return false;  // bmi, avx2, bmi2
    if (path == Path::avx2) return true;
    // The masks, and both halves of zmm; avx512f, avx512dq, avx512bw, avx512vl
    return path == Path::avx512 && all(kept, {5, 6, 7}) && all(b, {16, 17, 30, 31});
}
#else
bool has(Path path) { return path == Path::portable; }
#endif

Path best_path() { return has(Path::avx512) ? Path::avx512 : has(Path::avx2) ? Path::avx2 : Path::portable; }
// Made while the library is loaded, not at the first call: a fork in the middle of that would leave its guard locked.
std::atomic<Path> path_in_use{best_path()};
}  // namespace

extern const Kernels portable_kernels{split,         merge,       screen,      prefix_encode,
                                      prefix_decode, tans_encode, tans_decode, fence};

bool force_path(Path path) noexcept {
    if (path != Path::best && !has(path)) return false;
    path_in_use = path == Path::best ? best_path() : path;
    return true;
}
Path current_path() noexcept { return path_in_use; }

const Kernels& kernels() noexcept {
#if defined(__x86_64__)
    switch (current_path()) {
        case Path::avx512:
            return avx512_kernels;
        case Path::avx2:
            return avx2_kernels;
        default:
            break;
    }
#endif
    return portable_kernels;
}
}  // namespace dcpx
