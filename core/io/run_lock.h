// One start at a time works in a run folder: a second one would save and truncate metrics under the
// first. Rank 0's; a file system that knows no locks is taken as it is. The kernel drops the lock
// with the process, however that ends; the file stays and is no sign of anything by itself.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace blockstep {

inline constexpr char kRunLockName[] = "run.lock";

class RunLock {
 public:
  RunLock() = default;
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock();  // the end of the process, too, gives it back

  // Locks <run_folder>/run.lock, whose text names the holder and is what it was once it lets go. A
  // process that holds it may be about to end: it is waited for up to `wait_s`, then
  // RESOURCE_EXHAUSTED. `tell` (optional) is told of a wait that takes longer than a second.
  absl::Status Take(const std::string& run_folder, double wait_s,
                    const std::function<void(const std::string&)>& tell = nullptr);

 private:
  int file_ = -1;
  std::string text_before_;
  bool held_ = false;
};

}  // namespace blockstep
