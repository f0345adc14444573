#include "core/device/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/base/math.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

}  // namespace

// Maps a little more than asked and unmaps the ends, so that the range starts on a huge page.
absl::StatusOr<char*> MapRange(int64_t bytes, MappingAccess access) {
  const bool real = access == MappingAccess::kReadWrite;
  const int64_t rounded = RoundUp(bytes, kHugePage);
  void* raw = mmap(nullptr, rounded + kHugePage, real ? PROT_READ | PROT_WRITE : PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) {
    return ResourceExhausted("memory: mmap of ", rounded, " bytes failed: ", std::strerror(errno));
  }
  char* base = static_cast<char*>(raw);
  char* aligned = reinterpret_cast<char*>(RoundUp(reinterpret_cast<intptr_t>(base), kHugePage));
  if (aligned != base) munmap(base, aligned - base);
  char* end = base + rounded + kHugePage;
  if (aligned + rounded != end) munmap(aligned + rounded, end - (aligned + rounded));
  // Advice only: a kernel without it changes nothing.
  if (real) madvise(aligned, rounded, MADV_HUGEPAGE);
  return aligned;
}

void UnmapRange(void* data, int64_t bytes) { munmap(data, RoundUp(bytes, kHugePage)); }

}  // namespace blockstep
