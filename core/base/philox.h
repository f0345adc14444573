// Philox4x32-10 (Salmon et al., SC'11): a counter-based generator. A draw is a pure function of
// (key, counter), so it depends on no thread, rank or history.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace blockstep {

using PhiloxBlock = std::array<uint32_t, 4>;

constexpr PhiloxBlock Philox4x32(uint64_t key, PhiloxBlock counter) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * counter[0];
    const uint64_t p1 = 0xCD9E8D57ull * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// What a draw is for; part of the counter, so that two uses of one seed never meet.
enum class RandomUse : uint32_t {
  kInit = 1,
  kShuffle = 2,
  kProbe = 3,
  kBlockOrder = 4,
  kMadeUpText = 6,
  kTest = 99
};

// Four words for draw `index` of `use`; `stream` is a step, an epoch or a tensor index.
constexpr PhiloxBlock Draw(uint64_t seed, RandomUse use, uint32_t stream, uint64_t index) {
  return Philox4x32(seed, {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), stream,
                           static_cast<uint32_t>(use)});
}

constexpr uint64_t DrawU64(uint64_t seed, RandomUse use, uint32_t stream, uint64_t index) {
  const PhiloxBlock b = Draw(seed, use, stream, index);
  return (static_cast<uint64_t>(b[1]) << 32) | b[0];
}

// Uniform integer in [0, n), n > 0, without modulo bias beyond 2^-64 (multiply-shift).
constexpr uint64_t UniformBelow(uint64_t word, uint64_t n) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(word) * n) >> 64);
}

// Two standard normal values from one block (Box-Muller, in double).
inline std::array<double, 2> NormalPair(const PhiloxBlock& b) {
  const double u = (static_cast<double>(b[0]) + 0.5) * 0x1p-32;
  const double v = (static_cast<double>(b[1]) + 0.5) * 0x1p-32;
  const double r = std::sqrt(-2.0 * std::log(u));
  return {r * std::cos(6.283185307179586 * v), r * std::sin(6.283185307179586 * v)};
}

}  // namespace blockstep
