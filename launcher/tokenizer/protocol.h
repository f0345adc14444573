// What blockstep-spm speaks on stdin and stdout, little-endian; no library's types.
//  at start   out  SpmHello
//  per text   in   uint32 bytes (at most kMaxTextBytes), the text
//             out  uint32 count, count x int32 ids, without BOS and EOS
// End of input ends the program with 0. A mistake ends it with 1 and a line on stderr.
#pragma once

#include <cstdint>

namespace blockstep {

inline constexpr uint32_t kSpmMagic = 0x314d5053;  // "SPM1"
inline constexpr uint32_t kMaxTextBytes = 64u << 20;

struct SpmHello {
  uint32_t magic = 0;
  int32_t vocab_size = 0;
  int32_t bos = -1;  // -1: the model has none
  int32_t eos = -1;
};
static_assert(sizeof(SpmHello) == 16);

}  // namespace blockstep
