// What samples tell of a buffer before it is coded: how its bytes group into lanes, and whether it repeats itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "float/float_codec.hpp"

namespace dcpx {

// The grouping whose byte planes have the least order-0 entropy, from at most 8 KiB of samples. A wrong guess costs
// bytes, never correctness.
Lane sniff_lane(const std::uint8_t* src, std::size_t n) noexcept;

// The parts of a buffer that stand for all of it: one of 8 KiB, which holds short rows, in each of some stretches of
// it, and in each elsewhere, or of rows as long as a stretch one part alone would show. All of what is short, an eighth
// of what is long.
class Pieces {
  public:
    struct Piece {
        std::size_t start, size;
    };
    static constexpr std::size_t most = 8192;

    explicit Pieces(std::size_t n) noexcept;
    std::size_t count() const noexcept;
    Piece operator[](std::size_t number) const noexcept;

  private:
    std::size_t n_, stretch_;
};

// Of the strings of 16 bytes in these pieces, how many of 1024 stood there earlier: 0 for weights, high where matches
// pay. Each begins at a multiple of 8. Shorter ones would find integers and masks alike that are only of few values.
unsigned repeats(const std::uint8_t* src, std::size_t n) noexcept;

}  // namespace dcpx
