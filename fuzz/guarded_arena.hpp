// Included before every kernel file of a sanitized build (-include): cuts scratch with poisoned gaps between the
// pieces, so that AddressSanitizer also sees a kernel run from one piece of its scratch into the next.
#pragma once
#include <sanitizer/asan_interface.h>

#include <map>

#define Arena PlainArena
#include "float/layout.hpp"
#undef Arena

namespace dcpx {
struct Arena {
    u8* at;
    explicit Arena(void* scratch) : at(static_cast<u8*>(scratch)) {}
    template <class T>
    T* take(size_t count = 1) {
        at += (64 - (reinterpret_cast<std::uintptr_t>(at) & 63)) & 63;
        T* const p = reinterpret_cast<T*>(at);
        lift(at, at + count * sizeof(T));
        at += count * sizeof(T);
        const size_t gap = 64 - (reinterpret_cast<std::uintptr_t>(at) & 63);
        ASAN_POISON_MEMORY_REGION(at, gap);  // the caller of the codec lifts it before the next call
        gaps()[at] = gap;
        at += gap;
        return p;
    }

  private:
    // A chunk that is coded a second time, in another form, cuts the same scratch otherwise: what were gaps are pieces.
    static void lift(u8* begin, u8* end) {
        auto at = gaps().lower_bound(begin - 64);
        while (at != gaps().end() && at->first < end) {
            if (at->first + at->second > begin) ASAN_UNPOISON_MEMORY_REGION(at->first, at->second);
            at = at->first + at->second > begin ? gaps().erase(at) : std::next(at);
        }
    }
    static std::map<u8*, size_t>& gaps() {
        static std::map<u8*, size_t> all;
        return all;
    }
};
}  // namespace dcpx
