#include "tests/launcher/coordinator/failing_disk.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

namespace blockstep {
namespace {

std::mutex mutex;
DiskFault fault{.nth = 0};
std::vector<std::string> calls;

// The error that this call must give; 0: none.
int Called(const char* name) {
  std::lock_guard lock(mutex);
  calls.emplace_back(name);
  const int nth = static_cast<int>(calls.size());
  return fault.nth > 0 && nth >= fault.nth && nth - fault.nth < fault.times ? fault.error : 0;
}

bool Fails(const char* name) {
  const int error = Called(name);
  if (error != 0) errno = error;
  return error != 0;
}

}  // namespace

void FailDisk(DiskFault f) {
  std::lock_guard lock(mutex);
  fault = f;
  calls.clear();
}
void MendDisk() { FailDisk({.nth = 0}); }
bool DiskHasFailed() {
  std::lock_guard lock(mutex);
  return fault.nth > 0 && static_cast<int>(calls.size()) >= fault.nth;
}
std::vector<std::string> DiskCalls() {
  std::lock_guard lock(mutex);
  return calls;
}

}  // namespace blockstep

extern "C" {

ssize_t pwrite(int file, const void* data, size_t bytes, off_t at) {
  const int error = blockstep::Called("pwrite");
  const ssize_t wrote = syscall(SYS_pwrite64, file, data, error == 0 ? bytes : bytes / 2, at);
  if (error == 0) return wrote;
  errno = error;
  return -1;
}
int fsync(int) { return blockstep::Fails("fsync") ? -1 : 0; }
int fdatasync(int) { return blockstep::Fails("fdatasync") ? -1 : 0; }
int rename(const char* from, const char* to) noexcept {
  if (blockstep::Fails("rename")) return -1;
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0u));
}

}  // extern "C"
