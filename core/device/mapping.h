// Ranges of addresses from the system, for backends that reserve on the host.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace blockstep {

enum class MappingAccess : uint8_t { kNone, kReadWrite };  // kNone: any access is a fault

// `bytes` that start on 2 MiB; zero-filled on first touch. RESOURCE_EXHAUSTED where there are not
// that many.
absl::StatusOr<char*> MapRange(int64_t bytes, MappingAccess access);
void UnmapRange(void* data, int64_t bytes);

}  // namespace blockstep
