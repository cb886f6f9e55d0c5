#include "sniff.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace dcpx {
namespace {

constexpr std::size_t kSampleBytes = 1024;  // one sample; a multiple of every lane width
constexpr std::size_t kSamples = 8;

std::uint64_t load(const std::uint8_t* at, unsigned width) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, at, width);
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  return value;
}

// Bits that an ideal order-0 coder needs for the sampled lanes, all planes together.
double cost(const std::uint8_t* src, std::size_t n, std::size_t samples, Lanes lanes) noexcept {
  std::array<std::array<std::uint16_t, 256>, 8> counts{};
  const unsigned bits = lanes.width * 8;
  const std::size_t stride = samples > 1 ? (n - kSampleBytes) / (samples - 1) / 8 * 8 : 0;
  for (std::size_t s = 0; s < samples; ++s) {
    const std::uint8_t* const sample = src + s * stride;
    for (std::size_t i = 0; i < kSampleBytes; i += lanes.width) {
      std::uint64_t lane = load(sample + i, lanes.width);
      if (lanes.rotated) lane = lane << 1 | (lane >> (bits - 1) & 1);
      for (unsigned j = 0; j < lanes.width; ++j) ++counts[j][lane >> (8 * j) & 0xFF];
    }
  }
  const double total = static_cast<double>(samples * kSampleBytes / lanes.width);
  double sum = 0;
  for (unsigned j = 0; j < lanes.width; ++j)
    for (const std::uint16_t count : counts[j])
      if (count != 0) sum += count * std::log2(total / count);
  return sum;
}

}  // namespace

Lanes sniff_lanes(const std::uint8_t* src, std::size_t n) noexcept {
  Lanes best{1, false};
  if (n < kSampleBytes) return best;
  // A fraction of the whole, so that looking stays cheap beside coding.
  const std::size_t samples = std::clamp<std::size_t>(n / (64 * kSampleBytes), 1, kSamples);
  double least = cost(src, n, samples, best);
  // The more planes, the fewer symbols each and the lower its sampled entropy, by about (256 - 1) / 2 ln 2 bits a plane
  // of noise: a wider lane must win by more than that.
  constexpr double kBias = 184;
  for (const Lanes lanes : {Lanes{2, true}, Lanes{2, false}, Lanes{4, true}, Lanes{4, false}, Lanes{8, true}, Lanes{8, false}}) {
    const double bits = cost(src, n, samples, lanes) + kBias * (lanes.width - 1);
    if (bits < least) {
      least = bits;
      best = lanes;
    }
  }
  return best;
}

unsigned repeats(const std::uint8_t* src, std::size_t n) noexcept {
  constexpr std::size_t kBlock = 8192, kStride = 65536;  // an eighth of the chunk, in blocks that hold short rows
  std::array<std::uint32_t, 4096> seen{};                // tags of words, by their hash; 0 means none
  unsigned words = 0, found = 0;
  for (std::size_t start = 0; start < n; start += kStride) {
    const std::size_t stop = std::min(n, start + kBlock);
    for (std::size_t i = start; i + 8 <= stop; i += 8) {
      const std::uint64_t hash = load(src + i, 8) * 0x9E3779B97F4A7C15u;
      std::uint32_t& slot = seen[hash >> 52];
      const std::uint32_t tag = static_cast<std::uint32_t>(hash >> 20) | 1;
      found += slot == tag;
      slot = tag;
      ++words;
    }
  }
  return words == 0 ? 0 : static_cast<unsigned>(std::uint64_t{found} * 1024 / words);
}

}  // namespace dcpx
