// Checkpoints that no number of ranks shows in: a Hugging Face folder (it loads in transformers as
// it lies) + state/*.safetensors (logical slices of optimizer state) + trainer_state.pb +
// MANIFEST.json with a SHA-256 per slice. docs/checkpoints.md has the format.
//
//   <run>/checkpoints/step-00000100/
//     config.json  tokenizer files  model-0000k-of-0000n.safetensors  model.safetensors.index.json
//     state/state-0000k-of-0000n.safetensors  trainer_state.pb  MANIFEST.json
//
// Order on disk: everything is written under step-00000100.tmp, fsynced by its writers, the folder
// is renamed, its parent fsynced, and MANIFEST.json comes last: its presence announces the
// checkpoint, so a crash at any point leaves the last announced one untouched.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/file_ops.h"
#include "core/step/update_rule.h"
#include "core/tensor/device_access.h"
#include "core/tensor/tensor_table.h"
#include "dist/communicator.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/save_pieces.h"
#include "launcher/checkpoint/trainer_state.h"

namespace blockstep {

// The rows of every tensor that this rank owns: UnitStore::Owned and UnitStore::OwnedRange. An
// empty view still carries dtype and cols.
struct OwnedWeights {
  const TensorTable* table = nullptr;
  std::function<TensorView(int tensor)> owned;   // (owned_range.size(), cols)
  std::function<Range(int tensor)> owned_range;  // absolute rows
  DeviceAccess access;                           // to these views, and to state that goes with them
};

// One piece of state of one active entry. Every rank lists the same slices in the same order;
// `view` and `row0` are this rank's part.
struct StateSlice {
  int tensor = 0;
  Range rows;        // of the entry, all ranks: absolute rows of the tensor
  std::string name;  // StateSpec::name: "m"
  StateLayout layout = StateLayout::kLikeTensor;
  // kLikeTensor: rows [row0, row0 + view.rows) of the tensor, inside `rows`, may be empty.
  // kReplicated: (1, n), the same on every rank.
  TensorView view;
  int64_t row0 = 0;
};

struct CheckpointContents {
  OwnedWeights weights;
  std::vector<StateSlice> states;
  TrainerState trainer;                      // rank 0's is written
  std::string config_json;                   // LlamaConfigJson
  std::vector<std::string> tokenizer_files;  // paths, copied beside the weights; may be empty
};

struct SaveOptions {
  int64_t max_file_bytes = int64_t{5}
                           << 30;  // weights and state are split into files of about this
  int64_t max_slice_bytes = int64_t{4} << 20;  // rows hashed together: what a reader buffers
  // Which announced checkpoints stay once this one is; none: all.
  std::optional<RetentionRule> keep;
  FileHook hook;               // (optional) told of every operation on a file
  std::function<void()> idle;  // (optional) told when none is in hand any more
};

struct CheckpointInfo {
  std::string folder;
  int64_t step = 0;
  int64_t bytes = 0;          // on disk, all ranks
  int64_t bytes_written = 0;  // by this rank
  absl::Status removal;       // of older ones, on rank 0; this one is announced whatever it says
};

// A save in parts, so that the long ones need no collective and can run during training:
//   create    rank 0: every file at its full size, headers and small files
//   write     each rank: its rows, hashed; fsync of every file that it wrote to
//   announce  rank 0: folders fsynced, renamed, the manifest
// A part is Work() on any thread, then Turn() on the engine thread of every rank, in program order.
class CheckpointSave {
 public:
  // Collective and short; touches no file: ranks agree on what is saved. A leftover of a save that
  // died will be removed; a step that is announced already is not written again.
  static absl::StatusOr<std::unique_ptr<CheckpointSave>> Begin(const std::string& run_folder,
                                                               CheckpointContents contents,
                                                               Communicator* group,
                                                               SaveOptions options = {});
  ~CheckpointSave();

  // What this rank writes. Bytes of the save's step must stay where these say until written.
  SavePieces& pieces();
  // This rank's share of the part in hand.
  absl::Status Work();
  // Collective, with Work's status. True: there is another part. An error of Work on any rank ends
  // the save, leaves the last announced checkpoint as it was and gives the space back; outcome()
  // says so on every rank and names the one. What Turn itself returns is the communication's.
  absl::StatusOr<bool> Turn(absl::Status worked);
  // Collective: the parts that are left, here and now.
  absl::Status Finish();
  // Once no part is left.
  const absl::StatusOr<CheckpointInfo>& outcome() const;

 private:
  struct Impl;
  absl::Status WorkOnPart();
  explicit CheckpointSave(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct SavedState {
  int tensor = 0;  // index in the saved table, which LoadWeights holds equal to the run's
  Range rows;
  std::string name;
  DType dtype = DType::kF32;
  StateLayout layout = StateLayout::kLikeTensor;
  int64_t cols = 0;
};

// A checkpoint opened for reading on any number of ranks. What is read is hashed before it is used:
// a reader reads whole slices and checks each one it takes rows from, so no byte reaches the run
// unverified and nobody reads a tensor it owns nothing of.
class CheckpointReader {
 public:
  // Reads the manifest and trainer_state.pb. Collective: every rank must see the same checkpoint.
  // NOT_FOUND: no manifest; DATA_LOSS: damaged; FAILED_PRECONDITION: a newer format.
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> Open(const std::string& folder,
                                                                Communicator* group);
  ~CheckpointReader();

  const std::string& folder() const;
  const TrainerState& trainer() const;
  const std::vector<SavedState>& states() const;

  // The owned rows of every tensor. Collective only in its status: an error of one rank is
  // everyone's. FAILED_PRECONDITION names the first tensor in which model and checkpoint differ.
  absl::Status LoadWeights(const OwnedWeights& weights);
  // The rows in each slice's view, from any saved slice of that tensor and name that covers
  // them; rows that none covers are an error.
  absl::Status LoadStates(const std::vector<StateSlice>& states, const DeviceAccess& access);

 private:
  struct Impl;
  explicit CheckpointReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads and hashes every byte that the manifest names; one process. The error names file and slice.
absl::Status VerifyCheckpoint(const std::string& folder);

}  // namespace blockstep
