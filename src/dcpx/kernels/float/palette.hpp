// The values of a chunk's lanes, where they are few.
#pragma once
#include "layout.hpp"

namespace dcpx {

class Palette {
  public:
    static constexpr unsigned most = 256;

    // Counts the values of a sample of the lanes. False: it shows more values than a byte can number.
    bool sample(const u8* src, size_t lanes, unsigned width, u32* hist, size_t& counted) noexcept;
    // Numbers all lanes, one byte of `numbers` each, their values in the order in which they appear. False as above.
    bool number(const u8* src, size_t lanes, unsigned width, u8* numbers) noexcept;

    unsigned count() const { return count_; }
    u64 value(unsigned number) const { return values_[number]; }

  private:
    static constexpr unsigned slots = 1024;

    void clear() noexcept;
    template <unsigned W>
    bool take(const u8* src, size_t lanes, u8* numbers) noexcept;
    bool take(const u8* src, size_t lanes, unsigned width, u8* numbers) noexcept;

    unsigned count_;
    u64 values_[most];
    u16 slots_[slots];  // a value's number + 1, where its hash says or behind; 0: free
};
}  // namespace dcpx
