// The blockstep-spm program as an object: one text in, its ids out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/tokenizer/protocol.h"

namespace blockstep {

class SpmProcess {
 public:
  // NOT_FOUND: no such program; otherwise the program's own words are on stderr.
  static absl::StatusOr<SpmProcess> Start(const std::string& program, const std::string& model);
  ~SpmProcess();  // ends the process
  SpmProcess(SpmProcess&& other) noexcept;
  SpmProcess& operator=(SpmProcess&&) = delete;

  const SpmHello& hello() const { return hello_; }
  // Without BOS and EOS. DEADLINE_EXCEEDED: no byte moved for a minute.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text);

 private:
  std::string Said() const;
  SpmProcess() = default;
  absl::Status Send(const void* data, size_t bytes);
  absl::Status Receive(void* data, size_t bytes);
  absl::Status WaitFor(short events) const;

  std::string program_;
  pid_t pid_ = -1;
  int socket_ = -1;
  int said_ = -1;  // its stderr, in memory
  SpmHello hello_;
};

// `blockstep-spm` in the folder of the running program.
absl::StatusOr<std::string> SpmProgramBesideMe();

}  // namespace blockstep
