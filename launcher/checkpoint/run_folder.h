// The folder of one run: identity, configuration, checkpoints, metrics. Never overwritten.
//   <run>/run.json      run_id and where the run came from, newest last
//   <run>/run.lock      held while a start works here
//   <run>/saved         there once a checkpoint was announced
//   <run>/inputs.json   full digests of what was read, once they are taken
//   <run>/config.txt    the configuration as it ran; config-<run_id>.txt: of earlier parts
//
//   <run>/checkpoints/  <run>/metrics.jsonl  <run>/tensorboard/  <run>/ledger/
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/run_lock.h"
#include "dist/communicator.h"

namespace blockstep {

// Takes back what opening a run wrote, so that a start that is refused later (a damaged checkpoint,
// a port that is taken) leaves the disk as it was. Rank 0's; the others' does nothing.
class RunFolderUndo {
 public:
  RunFolderUndo() = default;
  RunFolderUndo(const RunFolderUndo&) = delete;
  RunFolderUndo& operator=(const RunFolderUndo&) = delete;
  ~RunFolderUndo();

  // The run folder as it is now is what will be there again; `made` are names in it that are about
  // to be written, besides run.json and config.txt.
  void Remember(const std::string& path, std::vector<std::string> made);
  // The run is under way: what was written stays.
  void Keep() { path_.clear(); }

 private:
  std::string path_;
  std::optional<std::string> run_json_, config_;  // as they were; none: there was none
  std::vector<std::string> made_;                 // files in it that were not there
  std::vector<std::string> folders_;              // that were not there, innermost first
};

struct RunFolderOptions {
  std::string path;
  // "": a fresh run; a folder that has a run already is refused. "auto": continues the run in
  // `path` from its last checkpoint, from step 0 if it has saved none yet, or starts it; DATA_LOSS
  // if it has saved and none is whole. Else a checkpoint or run folder: this new run starts from it
  // and records its run_id as parent.
  std::string resume;
  std::string config_text;  // RunConfigText: for people and for continuing
  std::string maths_text;   // canonical text of the fields that change the maths, one per line
  std::string config_hash;  // of maths_text
  // A run that "auto" finds at or beyond this step is finished: nothing is written, and its disk
  // may be read-only.
  int64_t steps = std::numeric_limits<int64_t>::max();
  bool allow_config_change = false;     // --allow-config-change
  std::function<std::string()> new_id;  // 128 random bits as 32 hex digits: RandomHex128
  RunFolderUndo* undo = nullptr;        // (optional) told before the first write
  RunLock* lock = nullptr;              // (optional) taken by rank 0 before it
  double lock_wait_s = 0;
  std::function<void(const std::string&)> lock_note;  // (optional) told of a wait for it
};

struct RunFolder {
  std::string path;
  std::string run_id;
  std::string parent_run_id;
  std::string resume_from;  // checkpoint folder; empty: from step 0
  int64_t resume_step = 0;
  std::string
      maths_change;  // what differs from the run that is continued, for people; mostly empty
  std::string note;  // which checkpoints were passed over, or that there was none; mostly empty
  std::string metrics_path() const { return path + "/metrics.jsonl"; }
  std::string tensorboard_path() const { return path + "/tensorboard"; }
  std::string inputs_path() const { return path + "/inputs.json"; }
  // The same of the run that is continued, which may be this one.
  std::string inputs_before() const;
  std::string ledger_path() const { return path + "/ledger"; }
};

// Collective. Rank 0 reads and writes; every rank gets the same answer. Every rank also proves that
// it sees rank 0's folder. Does not truncate the metrics: their writers are opened at resume_step.
absl::StatusOr<RunFolder> OpenRunFolder(const RunFolderOptions& options, Communicator* group);

// Rank 0 writes a file with a random name and content, every rank reads it: FAILED_PRECONDITION
// names the ranks that see another folder. Collective.
absl::Status ProveSharedFolder(const std::string& folder, const std::string& nonce,
                               Communicator* group);

std::string RandomHex128();  // from the system's source

// Lines of `was` and `now` that differ: "- lr: 0.001\n+ lr: 0.002\n".
std::string LineDifference(const std::string& was, const std::string& now);

}  // namespace blockstep
