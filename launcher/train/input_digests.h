// Full SHA-256 digests of what a run reads, computed during training. Which data a run has is known
// at its start by sampled digests, which are part of the maths; they cost nothing and may miss a
// change of a few bytes. The full ones are for people and for the record: no hash of the run has
// them, and a difference is told, not refused.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

struct InputFile {
  std::string name;  // "data.train[0]", "model.path/model.safetensors"
  std::string path;
  std::string sampled_sha256;
};

// <run>/inputs.json: by the input's name.
struct InputRecord {
  std::string path;  // absolute
  int64_t bytes = 0;
  std::string sampled_sha256;
  std::string sha256;         // as `sha256sum` prints it; empty: not taken yet
  std::string sha256_before;  // of an earlier part of the run, where it was another; mostly empty
  std::string error;          // why this start took none; mostly empty
};
using InputRecords = std::map<std::string, InputRecord>;

// NOT_FOUND: there is none; DATA_LOSS: damaged.
absl::StatusOr<InputRecords> ReadInputRecords(const std::string& path);

struct InputDigestsOptions {
  std::vector<InputFile> files;
  std::string record;  // inputs.json; replaced after each file
  // (optional) What an earlier part of the run found; may be `record` itself.
  std::string before;
  // On the thread. A text for people: what differs, or that nothing can be recorded.
  std::function<void(const std::string&)> tell;
  double mib_per_s = 100;     // at most: a file server has other things to do
  DiskWatch* disk = nullptr;  // (optional) told that the end waits for the read in hand
};

// A thread that runs only where a core is idle, needs a MiB, and reads one file after another.
class InputDigests {
 public:
  explicit InputDigests(InputDigestsOptions options);
  ~InputDigests();  // gives up what is not done, after the read of a MiB in hand

  void Await();  // until all are taken or could not be

 private:
  void Run();
  void Take(const InputFile& file, InputRecords& records);
  bool GoOn();

  InputDigestsOptions o_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace blockstep
