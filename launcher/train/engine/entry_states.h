// Optimizer state of the train entries of a phase: only for the rows this rank owns, only while the
// phase lasts. A new phase drops everything and restarts each entry's step count.
#pragma once

#include <string>
#include <vector>

#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "core/step/active_set.h"
#include "core/step/update_rule.h"

namespace blockstep {

struct EntryState {
  ActiveEntry entry;
  Range rows;        // of the tensor: entry.rows this rank owns
  int64_t step = 0;  // updates so far
  std::vector<StateSpec> specs;
  std::vector<TensorView> tensors;  // by spec; kLikeTensor: (rows, cols)
};

class EntryStates {
 public:
  EntryStates(const TensorTable& table, std::vector<const UpdateRule*> rules)
      : table_(table), rules_(std::move(rules)) {}

  // Carves and zeroes state for the train entries of `set`; `shard` of `shards` is this rank.
  absl::Status Begin(const ActiveSet& set, int64_t shards, int64_t shard,
                     const KernelTable& kernels, Stream& compute, Arena& arena);

  // The memory goes to something else: nothing is held until the next Begin.
  void Clear() { entries_.clear(); }

  // True if the train entries of `set` are the ones this holds state for.
  bool Matches(const ActiveSet& set) const;
  std::vector<EntryState>& entries() { return entries_; }
  const UpdateRule& rule(const ActiveEntry& entry) const { return *rules_[entry.rule]; }

 private:
  const TensorTable& table_;
  std::vector<const UpdateRule*> rules_;
  std::vector<EntryState> entries_;
};

}  // namespace blockstep
