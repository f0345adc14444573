// Sanitizers make a step some twenty times dearer, and races and bad accesses show in the first few
// cases: tests that walk through many cases take fewer of them there.
#pragma once

namespace blockstep::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace blockstep::testing
