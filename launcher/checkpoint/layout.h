// Which tensor lies where in which file of a checkpoint: a pure function of what is saved, so that
// every rank computes it alone. Nothing in it depends on the number of ranks.
#pragma once

#include <string>
#include <vector>

#include "core/data/safetensors_header.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

struct PlannedTensor {
  std::string name;   // in the file: "<tensor>" or "<tensor>:<begin>-<end>:<state>"
  int tensor = 0;     // index into the table
  std::string state;  // empty: the weight itself
  StateLayout layout = StateLayout::kLikeTensor;
  DType dtype = DType::kF32;
  Range rows;        // absolute rows that the file has; kReplicated: [0, 1)
  int64_t cols = 0;  // kReplicated: its elements
  bool vector = false;
  int file = 0;        // index into CheckpointLayout::files
  int64_t offset = 0;  // of the first row, in the file
  int source = -1;     // index into CheckpointContents::states; weights: -1
  int64_t row_bytes() const { return cols * DTypeSize(dtype); }
  int64_t bytes() const { return rows.size() * row_bytes(); }
};

struct PlannedFile {
  std::string name;  // relative: "model.safetensors", "state/state-00001-of-00002.safetensors"
  std::string header;
  int64_t bytes = 0;
};

struct CheckpointLayout {
  std::vector<PlannedFile> files;
  std::vector<PlannedTensor> tensors;  // weights in the table's order, then states in theirs
  std::string index_json;              // model.safetensors.index.json; empty with a single file
};

CheckpointLayout PlanCheckpoint(const CheckpointContents& contents, int64_t max_file_bytes);

}  // namespace blockstep
