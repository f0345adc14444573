// One number for all weights, and one for all optimizer state: SHA-256, equal for every number of
// ranks, sharded or pinned.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

// Hashed: (name, dtype, shape, unpadded bytes) of every tensor, sorted by name. Collective; the
// hash is returned on every rank. Bytes sent: those of the weights but rank 0's own.
absl::StatusOr<std::string> WeightsSha256(const OwnedWeights& weights, Communicator* group);

// Memory that takes while it lasts on rank `rank`, beyond the weights.
int64_t WeightsSha256Bytes(const OwnedWeights& weights, int ranks, int rank);

// Hashed: the update counter of every entry, then (tensor, rows, name, dtype, unpadded bytes) of
// every piece of state in the order of tensor, rows and name.
struct StateToHash {
  std::vector<StateSlice> states;
  std::vector<EntryCounter> counters;
};

// Collective; the hash is returned on every rank. Bytes sent: those of the state but rank 0's own.
absl::StatusOr<std::string> StateSha256(const TensorTable& table, const StateToHash& state,
                                        const DeviceAccess& access, Communicator* group);

// Memory that takes while it lasts on rank `rank`, beyond the state.
int64_t StateSha256Bytes(const TensorTable& table, const StateToHash& state, int ranks, int rank);

}  // namespace blockstep
