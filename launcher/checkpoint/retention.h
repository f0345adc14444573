// Lists the checkpoints of a run, finds the last one and removes old ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/file_ops.h"

namespace blockstep {

// In the run folder from its first announced checkpoint on: a run that has none, but this, has lost
// them.
inline constexpr char kSavedName[] = "saved";

// A checkpoint that is being written: "step-00000100.tmp".
inline constexpr char kTemporarySuffix[] = ".tmp";

struct CheckpointName {
  std::string folder;
  int64_t step = 0;
};

std::string CheckpointFolder(const std::string& run_folder, int64_t step);

// Announced checkpoints, ascending by step: folders named step-<n> with a whole manifest of a
// version we read. Leftovers of saves that died are not among them.
std::vector<CheckpointName> ListCheckpoints(const std::string& run_folder);
// NOT_FOUND: the run has announced none yet. DATA_LOSS: it has, but none is whole, or they cannot
// be listed; names each folder and why. `passed_over` (optional): the same of newer folders than
// the one that is found, and of saves that died before the first one was announced; mostly empty.
absl::StatusOr<CheckpointName> LatestCheckpoint(const std::string& run_folder,
                                                std::string* passed_over = nullptr);

struct RetentionRule {
  int keep_last = 3;       // at least 1: the last announced one always stays
  int64_t keep_every = 0;  // and those whose step is a multiple; 0: none
};
// The `steps` (ascending) that the rule removes.
std::vector<int64_t> StepsToRemove(const std::vector<int64_t>& steps, const RetentionRule& rule);
// Removes them, manifest first, so that a half removed folder is not taken for a checkpoint. Called
// by one rank, with no save under way. Returns the removed folders.
absl::StatusOr<std::vector<std::string>> ApplyRetention(const std::string& run_folder,
                                                        const RetentionRule& rule,
                                                        FileHook hook = nullptr);

// Gives back the space of saves that died before they were announced: every step-<n>.tmp, and every
// step-<n> without a manifest. No save of the run may be under way.
absl::Status RemoveUnannounced(const std::string& run_folder, const FileOps& files);

}  // namespace blockstep
