// Included before every kernel file of a sanitized build (-include): cuts scratch with poisoned gaps between the
// pieces, so that AddressSanitizer also sees a kernel run from one piece of its scratch into the next.
#pragma once
#include <sanitizer/asan_interface.h>

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
        at += count * sizeof(T);
        const size_t gap = 64 - (reinterpret_cast<std::uintptr_t>(at) & 63);
        ASAN_UNPOISON_MEMORY_REGION(p, count * sizeof(T));  // the call before may have had its gaps here
        ASAN_POISON_MEMORY_REGION(at, gap);                 // who looks at the scratch after the call lifts it
        at += gap;
        return p;
    }
};
}  // namespace dcpx
