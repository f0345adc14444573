// What learns now (docs/glossary.md). Everything that is not named here is frozen: no dW, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/math.h"
#include "core/tensor/tensor_table.h"

namespace blockstep {

enum class Role : uint8_t {
  kTrain,  // gradient to its owners, updated at Commit
  kProbe,  // gradient for its norm only
  kFused,  // updated inside backward
};

struct ActiveEntry {
  int tensor = 0;  // index into TensorTable::tensors
  Range rows;      // begins on a multiple of EntryRows; ends on one or at the last row
  Role role = Role::kTrain;
  int rule = 0;  // index into the run's update rules
  float lr_scale = 1.0f;
  friend bool operator==(const ActiveEntry&, const ActiveEntry&) = default;
};

struct ActiveSet {
  std::vector<ActiveEntry> entries;  // ascending by (tensor, rows.begin), disjoint
  friend bool operator==(const ActiveSet&, const ActiveSet&) = default;

  bool empty() const { return entries.empty(); }
  int64_t Elements(const TensorTable& table) const;  // all roles
  // Canonical text, one line per entry: hashing, logs, equality of ranks.
  std::string Text() const;
};

// Order, bounds, alignment and disjointness, by name.
absl::Status Validate(const ActiveSet& set, const TensorTable& table);

// The whole of a tensor as one train entry.
ActiveEntry WholeTensor(const TensorTable& table, int tensor, Role role = Role::kTrain);

}  // namespace blockstep
