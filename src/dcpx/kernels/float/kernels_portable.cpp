// The path for any machine, and the run-time choice between the paths.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>

#include "loops.hpp"

namespace dcpx {
namespace {
void split(const u8* s, size_t n, unsigned w, bool rot, u8* const* p) { loops::split_any(s, 0, n, w, rot, p); }
void merge(u8* d, size_t n, unsigned w, bool rot, const u8* const* p) { loops::merge_any(d, 0, n, w, rot, p); }
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
bool has_lzcnt() {  // clang's __builtin_cpu_supports doesn't know the name
    unsigned a, b, c, d;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 5 & 1);
}
#endif

bool has(Path path) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                      __builtin_cpu_supports("bmi2") && has_lzcnt();
    if (path == Path::avx2) return avx2;
    if (path == Path::avx512)
        return avx2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
#endif
    return path == Path::portable;
}

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
