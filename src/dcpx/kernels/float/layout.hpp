// What encode and decode share about the bytes of a chunk (spec/float.md has the whole layout).
#pragma once
#include "kernels.hpp"

namespace dcpx {

enum Method : u8 { raw_plane = 0, constant_plane = 1, prefix_plane = 2, tans_plane = 3 };

inline constexpr size_t size_bytes = 3;   // of one stream's length
inline constexpr size_t count_bytes = 4;  // of a patch count
inline constexpr size_t patch_bytes = 4;  // lane (3), value (1)

// Cuts the caller's scratch into aligned pieces.
struct Arena {
    u8* at;
    explicit Arena(void* scratch) : at(static_cast<u8*>(scratch)) {}
    template <class T>
    T* take(size_t count = 1) {
        at += (64 - (reinterpret_cast<std::uintptr_t>(at) & 63)) & 63;
        T* const p = reinterpret_cast<T*>(at);
        at += count * sizeof(T);
        return p;
    }
};

// Lanes of stream k's block in window w.
struct Blocks {
    size_t lanes, block, windows;
    explicit Blocks(size_t n)
        : lanes(n), block(block_size(n)), windows(n ? (n + streams * block - 1) / (streams * block) : 0) {}
    size_t start(size_t window, unsigned k) const { return (window * streams + k) * block; }
    size_t count(size_t window, unsigned k) const {
        const size_t from = start(window, k);
        return from >= lanes ? 0 : lanes - from < block ? lanes - from : block;
    }
};
}  // namespace dcpx
