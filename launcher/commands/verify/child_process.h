// A program run beside this one, its output in a file, ended with its whole process group.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace blockstep {

class ChildProcess {
 public:
  // argv[0] is looked up in PATH unless it has a slash. Output and errors go to `log`. NOT_FOUND:
  // no such program.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& argv,
                                            const std::string& log);
  ~ChildProcess();  // ends it if it runs: SIGTERM, then SIGKILL
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  // The exit code, or 128 + signal. DEADLINE_EXCEEDED: it ran longer and was ended. CANCELLED: this
  // program was asked to stop meanwhile.
  absl::StatusOr<int> Wait(double limit_s);
  // Ok while it runs. INTERNAL: it ended by itself. CANCELLED: this program was asked to stop.
  absl::Status Running();
  void End();

 private:
  ChildProcess(pid_t pid, std::string name) : pid_(pid), name_(std::move(name)) {}
  pid_t pid_ = -1;
  std::string name_;
};

}  // namespace blockstep
